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
#include "spankey/models/batch_norm.h"
#include "spankey/models/model.h"

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
  void begin_pass(TrainPass pass) { begin_passes({pass}); }
  // The batch is these passes, equally many rows each, one after the other; in the order of TrainPass, evenly spaced.
  void begin_passes(const std::vector<TrainPass>& passes);

  // `sums`: the slots summed over all shards; `passes`: those that the step took, on whichever rank.
  void update(const at::Tensor& sums, const std::vector<TrainPass>& passes);
  // Running statistics of the correct pass, as they are in `sums` or in a sum of several batches' `sums`.
  void replace(const at::Tensor& sums);

 private:
  // Slots (passes, pass_slots_) of one pass: the weight of what was measured, then mean and variance of each layer,
  // (2 C).
  at::Tensor table(const at::Tensor& slots) const { return slots.view({pass_count_, pass_slots_}); }
  // Mean and variance of layer 0, of layer 1, ... of a pass.
  std::vector<at::Tensor> statistics(const at::Tensor& sums, TrainPass pass) const;
  // The running ones in the same order.
  std::vector<at::Tensor> running(bool denied) const;

  std::vector<std::shared_ptr<BatchNorm2d>> layers_;
  BatchNorm policy_;
  std::int64_t pass_count_, pass_slots_ = 0;
  at::Tensor slots_;
  double weight_ = 0.0;
  at::Tensor current_;  // of table(slots_): the rows of the passes begun
};

}  // namespace spankey
