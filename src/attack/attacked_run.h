// The run under attack, as whoever judges the attacks sees it.
#pragma once

#include <optional>
#include <string>

#include "attack/attack_data.h"
#include "spankey/keys/basis.h"
#include "train/experiment.h"
#include "train/loaded_run.h"

namespace spankey {

struct AttackedRun {
  Experiment experiment;       // float32 whatever train.precision, in evaluation mode, without gradients
  std::optional<Basis> basis;  // empty where there is no secret/: rows of the owner are not run
  std::string weights_sha256;
  AttackData data;
};

// Error(bad_input) for the vanilla twin, which has no keys.
AttackedRun make_attacked_run(Experiment experiment, std::optional<Basis> basis,
                              ImageSource source = ImageSource::train);

}  // namespace spankey
