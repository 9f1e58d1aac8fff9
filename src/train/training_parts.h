// Everything that a training step works with, built from an experiment. The trainer and the benchmarks share it.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "data/loader.h"
#include "data/sampler.h"
#include "dist/communicator.h"
#include "dist/flat_parameters.h"
#include "dist/reducer.h"
#include "spankey/keys/key_maker.h"
#include "spankey/models/named_tensor.h"
#include "train/averaged_weights.h"
#include "train/experiment.h"
#include "train/optimizer.h"
#include "train/running_statistics.h"
#include "train/train_step.h"

namespace spankey {

class TrainingParts {
 public:
  // Collective. `shards` comes from resolve_shards(). The model's parameters become views of flat buffers.
  TrainingParts(const Experiment& experiment, const Basis& basis, std::int64_t shards, Communicator& communicator);

  std::int64_t steps_per_epoch() const { return steps_per_epoch_; }
  const KeyMaker& keys() const { return keys_; }
  Optimizer& optimizer() { return *optimizer_; }
  const Sampler& sampler() const { return sampler_; }
  StepParts& step_parts() { return step_parts_; }

  // Returns the batch of this rank, on its device.
  Batch load(std::int64_t epoch, std::int64_t step);
  // Takes one step of the whole run at `cursor`, with the batch that load() returned.
  StepFigures step(const Batch& batch, const Cursor& cursor, double lr, bool stop) {
    return train_step(step_parts_, batch, cursor, lr, stop);
  }

  // Collective. Implements model.batchnorm = "recalibrate_ok". Running statistics of the published weights become the
  // plain average over
  // `recalibration_batches` batches with correct keys, in the order that the epoch `epoch` and those after it would
  // take them. `after_each_batch` may throw. Then nothing has changed, but this object takes no more steps.
  void recalibrate(std::int64_t epoch, const std::function<void()>& after_each_batch);
  static constexpr std::int64_t recalibration_batches = 100;

  // Returns tensors named "<state>/<parameter>". They are views of the flat optimiser state, shaped as the parameters.
  // Those of AveragedWeights follow where there is an average.
  std::vector<NamedTensor> optimizer_state();

  // nullptr without train.ema_decay.
  AveragedWeights* average() { return average_.get(); }

 private:
  at::Device device_;
  KeyMaker keys_;
  FlatParameters parameters_;
  RunningStatistics statistics_;
  Reducer reducer_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<AveragedWeights> average_;
  StepParts step_parts_;
  Sampler sampler_;
  std::int64_t steps_per_epoch_;
  Loader loader_;
};

}  // namespace spankey
