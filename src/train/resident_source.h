// Batch and keys of a resident step, from data and bases that live on the device.
#pragma once

#include <optional>
#include <string>

#include "dist/communicator.h"
#include "spankey/keys/basis.h"
#include "train/experiment.h"
#include "train/resident_step.h"

namespace spankey {

// train.capture, with "auto" resolved: on a GPU.
bool wants_resident(const Experiment& experiment);

// The option in the way, in a few words, or nothing.
std::optional<std::string> resident_why_not(const Experiment& experiment, const Communicator& communicator);

// Error(bad_input) where train.capture = "on" asks for what resident_why_not() knows a reason against.
void require_capture(const Experiment& experiment, const Communicator& communicator);

// Copies data and bases to the device of the experiment.
ResidentSource make_resident_source(const Experiment& experiment, const Basis& basis);

}  // namespace spankey
