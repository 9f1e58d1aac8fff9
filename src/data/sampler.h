// Which samples a step takes, and which of them a rank takes. Both are pure functions of the configuration and of the
// position in the run.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace spankey {

// The samples that data.limit chooses. They are `limit` samples spread evenly over the classes, and a class with too
// few leaves its part to the others. Each class gives its first ones, and the result is in the order of the data. No
// seed decides. Where the classes alternate these are the first `limit` samples. `labels` are those of all samples, 0
// .. classes-1, and 0 < limit <= all.
std::vector<std::int64_t> balanced_subset(std::span<const std::int64_t> labels, std::int64_t classes,
                                          std::int64_t limit);

// Every epoch takes each of the samples 0 .. samples-1, or each of `chosen`, once, in an order that is a function of
// (seed, epoch). With drop_last the last samples % global_batch of that order are left out. Different threads may use
// copies, but not one object (it remembers the order of the epoch it was last asked for).
class Sampler {
 public:
  Sampler(std::int64_t samples, std::int64_t global_batch, bool drop_last, std::uint64_t seed);
  // `chosen` holds indices into the data set.
  Sampler(std::vector<std::int64_t> chosen, std::int64_t global_batch, bool drop_last, std::uint64_t seed);

  std::int64_t steps_per_epoch() const;
  // Data-set indices of the whole global batch. It is shorter only in the last step without drop_last.
  std::vector<std::int64_t> global_batch(std::int64_t epoch, std::int64_t step) const;

 private:
  const std::vector<std::int64_t>& order(std::int64_t epoch) const;

  std::int64_t samples_, global_batch_;
  std::shared_ptr<const std::vector<std::int64_t>> chosen_;  // nullptr means all samples
  bool drop_last_;
  std::uint64_t seed_;
  mutable std::int64_t cached_epoch_ = -1;
  mutable std::shared_ptr<const std::vector<std::int64_t>> cached_order_;
};

struct Range {
  std::int64_t begin, end;
};

// The part of a batch of `samples` that shard number `shard` of `shards` takes. It is contiguous and in order, and the
// first samples % shards shards take one more. It may be empty.
Range shard_range(std::int64_t samples, std::int64_t shards, std::int64_t shard);

// The part that shards first_shard .. first_shard + shard_count - 1 take together.
Range block_range(std::int64_t samples, std::int64_t shards, std::int64_t first_shard, std::int64_t shard_count);

}  // namespace spankey
