// BatchNorm's running statistics in training. What the shards of a step measure travels with the gradients, and after
// the reduction every rank makes the same updates: once for each pass, from the mean over shards, weighted by their
// samples, of mean and unbiased variance, in the order correct, [no key], wrong.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "config/enums.h"
#include "dist/communicator.h"
#include "spankey/batch_norm.h"
#include "spankey/model.h"

namespace spankey {

enum class TrainPass : std::int64_t { correct, none, wrong };

class RunningStatistics {
 public:
  // `denied`: there will be passes other than the correct one. The model's BatchNorm layers report here as long as this
  // object lives; with `synchronise_over` they normalise over its ranks as well.
  RunningStatistics(Model& model, BatchNorm policy, bool denied, Communicator* synchronise_over);
  ~RunningStatistics();
  RunningStatistics(const RunningStatistics&) = delete;
  RunningStatistics& operator=(const RunningStatistics&) = delete;

  // Numbers that travel; 0 for a network without BatchNorm.
  std::int64_t slots() const { return pass_count_ * pass_slots_; }

  // What the passes of one shard measure goes into `slots` (float64, (slots()), zero), times `weight`, the shard's part
  // of the samples of the global batch. Without slots the tensors here and below are not looked at.
  void begin_shard(at::Tensor slots, double weight);
  void begin_pass(TrainPass pass);

  // `sums`: the slots summed over all shards. Passes that no shard has taken change nothing.
  void update(const at::Tensor& sums);
  // Running statistics of the correct pass, as they are in `sums` or in a sum of several batches' `sums`.
  void replace(const at::Tensor& sums);

 private:
  // Of one pass: the weight of what was measured, then mean and variance of each layer, (2 C).
  std::vector<BatchStatistics> statistics(const at::Tensor& sums, TrainPass pass) const;

  std::vector<std::shared_ptr<BatchNorm2d>> layers_;
  BatchNorm policy_;
  std::int64_t pass_count_, pass_slots_ = 0;
  at::Tensor slots_;
  double weight_ = 0.0;
  std::int64_t pass_offset_ = 0;
};

}  // namespace spankey
