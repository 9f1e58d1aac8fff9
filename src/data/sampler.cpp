#include "data/sampler.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/stream.h"

namespace spankey {
namespace {

// The number of samples of each class, `limit` in all, as even as the `counts` allow.
std::vector<std::int64_t> even_quotas(const std::vector<std::int64_t>& counts, std::int64_t limit) {
  std::vector<std::int64_t> quotas(counts.size());
  while (limit > 0) {
    std::int64_t open = 0;  // classes with samples left
    for (std::size_t c = 0; c < counts.size(); ++c) open += quotas[c] < counts[c];
    const std::int64_t share = std::max<std::int64_t>(1, limit / open);
    for (std::size_t c = 0; c < counts.size() && limit > 0; ++c) {
      const auto taken = std::min({share, counts[c] - quotas[c], limit});
      quotas[c] += taken;
      limit -= taken;
    }
  }
  return quotas;
}

}  // namespace

std::vector<std::int64_t> balanced_subset(std::span<const std::int64_t> labels, std::int64_t classes,
                                          std::int64_t limit) {
  SPANKEY_CHECK_GE(limit, 1);
  SPANKEY_CHECK_LE(limit, static_cast<std::int64_t>(labels.size()));
  std::vector<std::int64_t> counts(static_cast<std::size_t>(classes));
  for (const std::int64_t label : labels) ++counts[static_cast<std::size_t>(label)];
  auto left = even_quotas(counts, limit);
  std::vector<std::int64_t> chosen;
  for (std::size_t sample = 0; sample < labels.size(); ++sample)
    if (left[static_cast<std::size_t>(labels[sample])]-- > 0) chosen.push_back(static_cast<std::int64_t>(sample));
  return chosen;
}

Sampler::Sampler(std::int64_t samples, std::int64_t global_batch, bool drop_last, std::uint64_t seed)
    : samples_(samples), global_batch_(global_batch), drop_last_(drop_last), seed_(seed) {
  SPANKEY_CHECK_GE(samples, 1);
  SPANKEY_CHECK_GE(global_batch, 1);
}

Sampler::Sampler(std::vector<std::int64_t> chosen, std::int64_t global_batch, bool drop_last, std::uint64_t seed)
    : Sampler(static_cast<std::int64_t>(chosen.size()), global_batch, drop_last, seed) {
  chosen_ = std::make_shared<const std::vector<std::int64_t>>(std::move(chosen));
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
    auto order = permutation(id, samples_);
    if (chosen_)
      for (std::int64_t& sample : order) sample = (*chosen_)[static_cast<std::size_t>(sample)];
    cached_order_ = std::make_shared<const std::vector<std::int64_t>>(std::move(order));
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
