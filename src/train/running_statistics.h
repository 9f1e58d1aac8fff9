// BatchNorm's running statistics in training. The measurements of the shards of a step are summed with the gradients.
// After the reduction every rank makes the same updates, one for each pass in the order correct, [no key], wrong. An
// update takes mean and unbiased variance, both averaged over shards weighted by their samples.
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
  // `denied` says that there will be passes other than the correct one. The model's BatchNorm layers report to this
  // object as long as it lives. With `synchronise_over` they normalise over its ranks as well.
  RunningStatistics(Model& model, BatchNorm policy, bool denied, Communicator* synchronise_over);
  ~RunningStatistics();
  RunningStatistics(const RunningStatistics&) = delete;
  RunningStatistics& operator=(const RunningStatistics&) = delete;

  // Returns how many numbers are summed with the gradients, 0 for a network without BatchNorm.
  std::int64_t slots() const { return pass_count_ * pass_slots_; }

  // Measurements of the passes of one shard are written into `slots` (float64, (slots()), zero), times `weight`.
  // `weight` is the shard's share of the samples of the global batch. Without slots the tensors here and below are
  // ignored.
  void begin_shard(at::Tensor slots, double weight);
  void begin_pass(TrainPass pass) { begin_passes({pass}); }
  // The batch consists of these passes, one after the other, with equally many rows each. They are in the order of
  // TrainPass and evenly spaced.
  void begin_passes(const std::vector<TrainPass>& passes);

  // `sums` are the slots summed over all shards. `passes` are those that the step took on any rank.
  void update(const at::Tensor& sums, const std::vector<TrainPass>& passes);
  // Sets the running statistics to those of the correct pass in `sums`, which may be a sum over several batches.
  void replace(const at::Tensor& sums);

 private:
  // Writes what all layers have measured in the passes begun.
  void write();
  // Returns slots as (passes, pass_slots_). The row of a pass is the weight of what was measured, then mean and
  // variance of each layer, (2 C).
  at::Tensor table(const at::Tensor& slots) const { return slots.view({pass_count_, pass_slots_}); }
  // Returns mean and variance of layer 0, of layer 1, ... of a pass.
  std::vector<at::Tensor> statistics(const at::Tensor& sums, TrainPass pass) const;
  // Returns the running ones in the same order.
  std::vector<at::Tensor> running(bool denied) const;

  std::vector<std::shared_ptr<BatchNorm2d>> layers_;
  BatchNorm policy_;
  std::int64_t pass_count_, pass_slots_ = 0;
  at::Tensor slots_;
  double weight_ = 0.0;
  at::Tensor current_;                // the rows of table(slots_) of the passes begun
  std::vector<at::Tensor> measured_;  // (groups, C), mean and variance of layer 0, of layer 1, ...
  std::size_t reported_ = 0;          // layers that have measured these passes
};

}  // namespace spankey
