#include "data/sampler.h"

#include <algorithm>

#include "base/error.h"
#include "base/stream.h"

namespace spankey {

Sampler::Sampler(std::int64_t samples, std::int64_t global_batch, bool drop_last, std::uint64_t seed)
    : samples_(samples), global_batch_(global_batch), drop_last_(drop_last), seed_(seed) {
  SPANKEY_CHECK_GE(samples, 1);
  SPANKEY_CHECK_GE(global_batch, 1);
}

std::int64_t Sampler::steps_per_epoch() const {
  return drop_last_ ? samples_ / global_batch_ : (samples_ + global_batch_ - 1) / global_batch_;
}

std::vector<std::int64_t> Sampler::global_batch(std::int64_t epoch, std::int64_t step) const {
  SPANKEY_CHECK_GE(epoch, 0);
  SPANKEY_CHECK_GE(step, 0);
  SPANKEY_CHECK_LT(step, steps_per_epoch());
  const auto& all = order(epoch);
  const std::int64_t begin = step * global_batch_, end = std::min(samples_, begin + global_batch_);
  return {all.begin() + begin, all.begin() + end};
}

const std::vector<std::int64_t>& Sampler::order(std::int64_t epoch) const {
  if (cached_epoch_ != epoch) {
    const StreamId id{.seed = seed_, .purpose = Purpose::sample_order, .epoch = static_cast<std::uint32_t>(epoch)};
    cached_order_ = std::make_shared<const std::vector<std::int64_t>>(permutation(id, samples_));
    cached_epoch_ = epoch;
  }
  return *cached_order_;
}

namespace {

// Samples taken by the shards before this one.
std::int64_t taken_before(std::int64_t samples, std::int64_t shards, std::int64_t shard) {
  return samples / shards * shard + std::min(shard, samples % shards);
}

}  // namespace

Range shard_range(std::int64_t samples, std::int64_t shards, std::int64_t shard) {
  return block_range(samples, shards, shard, 1);
}

Range block_range(std::int64_t samples, std::int64_t shards, std::int64_t first_shard, std::int64_t shard_count) {
  SPANKEY_CHECK_GE(samples, 0);
  SPANKEY_CHECK_GE(first_shard, 0);
  SPANKEY_CHECK_GE(shard_count, 0);
  SPANKEY_CHECK_LE(first_shard + shard_count, shards);
  return {taken_before(samples, shards, first_shard), taken_before(samples, shards, first_shard + shard_count)};
}

}  // namespace spankey
