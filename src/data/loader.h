// Loads batches in the order of training. A helper thread prepares the next one while the current one is used.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/worker.h"
#include "data/assembler.h"
#include "data/dataset.h"
#include "data/sampler.h"

namespace spankey {

struct Batch {
  at::Tensor x;                       // (n, C, H, W) or (n, D) float32, normalised
  at::Tensor labels;                  // (n) int64
  std::vector<std::int64_t> samples;  // data-set indices of the whole global batch
  Range range;                        // this rank's part of `samples`, with n = end - begin
};

class Loader {
 public:
  // This rank owns the shards first_shard .. first_shard + shard_count - 1 of `shards`.
  Loader(std::shared_ptr<const Dataset> dataset, Sampler sampler, Assembler assembler, std::int64_t shards,
         std::int64_t first_shard, std::int64_t shard_count, bool prefetch);
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Returns the batch of (epoch, step), the same with or without prefetching. It is fastest in order. One thread at a
  // time may call it. An error of the helper thread is thrown by the call that asks for the batch it belongs to.
  Batch load(std::int64_t epoch, std::int64_t step);

 private:
  struct Place {
    std::int64_t epoch, step;
    bool operator==(const Place&) const = default;
  };

  Batch make(Place place, bool on_helper) const;
  Place after(Place place) const;
  void order(Place place);

  std::shared_ptr<const Dataset> dataset_;
  Sampler sampler_;
  Assembler assembler_;
  std::int64_t shards_, first_shard_, shard_count_;

  std::optional<Place> ordered_;    // what the helper makes, or has made
  Batch batch_;                     // used by the helper alone while it works, as the sampler is
  std::unique_ptr<Worker> helper_;  // null without prefetching; last, because it uses everything above
};

}  // namespace spankey
