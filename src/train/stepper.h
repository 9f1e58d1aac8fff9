// Takes the steps of a run, one after the other. There are two ways with the same numbers. Either the host makes batch
// and keys of each step, or all of a step is on the device (resident_step.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dist/communicator.h"
#include "record/cursor.h"
#include "train/experiment.h"
#include "train/train_step.h"
#include "train/training_parts.h"

namespace spankey {

// Steps between two lines of a run's metrics.
constexpr std::int64_t metrics_every_steps = 10;

class Stepper {
 public:
  // True where this rank wants to stop.
  using StopWish = std::function<bool()>;

  virtual ~Stepper() = default;
  Stepper(const Stepper&) = delete;
  Stepper& operator=(const Stepper&) = delete;

  // Collective. Takes the step at `cursor`. Returns the figures that have become known since the last call, in the
  // order of the steps, the same on every rank. The last of them say whether any rank wanted to stop when `wants_stop`
  // was called. No figures stay unknown after a step at which metrics are written, or the run audits, saves or ends an
  // epoch.
  virtual std::vector<StepFigures> step(const Cursor& cursor, double lr, const StopWish& wants_stop) = 0;

  TrainingParts& parts() { return *parts_; }
  const TrainingParts& parts() const { return *parts_; }

 protected:
  Stepper(std::unique_ptr<TrainingParts> parts, Communicator& communicator)
      : parts_(std::move(parts)), communicator_(communicator) {}

  // Tells the communicator the position of the run. The deadline of the step counts from here.
  void begin_step(const Cursor& cursor);

  std::unique_ptr<TrainingParts> parts_;
  Communicator& communicator_;
};

// Collective. The steps are resident where train.capture asks for it and nothing prevents it. What prevents it is
// logged, or is an Error(bad_input) under train.capture = "on". `shards` comes from resolve_shards().
std::unique_ptr<Stepper> make_stepper(const Experiment& experiment, const Basis& basis, std::int64_t shards,
                                      Communicator& communicator);

}  // namespace spankey
