// A run directory brought back to life for everything that is not training: evaluation, inspection, attacks.
#pragma once

#include <string>
#include <vector>

#include "dist/communicator.h"
#include "record/run_directory.h"
#include "spankey/keys/basis.h"
#include "train/cursor.h"
#include "train/experiment.h"

namespace spankey {

struct LoadedRun {
  Experiment experiment;  // model with the weights of the newest valid checkpoint
  Basis basis;
  Cursor cursor;
};

// The configuration of a run, with `overrides`. Error(bad_input) where there is no such run.
Config run_config(const RunDirectory& directory, const std::vector<std::string>& overrides);

// Collective. `overrides` as on the command line, for example "data.file=elsewhere.h5"; the data must have the digest
// that the run was trained on. Error(bad_input) where the directory holds no run, no valid checkpoint or no basis.
LoadedRun load_run(const RunDirectory& directory, const std::vector<std::string>& overrides, Communicator& communicator,
                   const Placement& placement = {});

}  // namespace spankey
