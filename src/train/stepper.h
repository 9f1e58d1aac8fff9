// The steps of a run, one after the other. There are two ways to take them with the same numbers: the host makes batch
// and keys of each step, or all of a step lives on the device (resident_step.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dist/communicator.h"
#include "train/cursor.h"
#include "train/experiment.h"
#include "train/train_step.h"
#include "train/training_parts.h"

namespace spankey {

// Steps between two lines of a run's metrics.
constexpr std::int64_t metrics_every_steps = 10;

class Stepper {
 public:
  // Whether this rank wants to stop.
  using StopWish = std::function<bool()>;

  virtual ~Stepper() = default;
  Stepper(const Stepper&) = delete;
  Stepper& operator=(const Stepper&) = delete;

  // Collective. Takes the step at `cursor`. Returns the figures that have become known since the last call, in the
  // order of the steps, the same on every rank; the last of them tell whether any rank wanted to stop when `wants_stop`
  // was asked. No figures are left unknown after a step at which metrics are written, the run audits, saves or ends an
  // epoch.
  virtual std::vector<StepFigures> step(const Cursor& cursor, double lr, const StopWish& wants_stop) = 0;

  TrainingParts& parts() { return *parts_; }
  const TrainingParts& parts() const { return *parts_; }

 protected:
  Stepper(std::unique_ptr<TrainingParts> parts, Communicator& communicator)
      : parts_(std::move(parts)), communicator_(communicator) {}

  // Tells the communicator where the run stands; the step's deadline counts from here.
  void begin_step(const Cursor& cursor);

  std::unique_ptr<TrainingParts> parts_;
  Communicator& communicator_;
};

// Collective. Resident where train.capture asks for it and nothing is in the way; what is in the way is logged, or
// Error(bad_input) under train.capture = "on". `shards` as resolve_shards() gives it.
std::unique_ptr<Stepper> make_stepper(const Experiment& experiment, const Basis& basis, std::int64_t shards,
                                      Communicator& communicator);

}  // namespace spankey
