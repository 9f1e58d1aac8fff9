// Loads a run directory for everything that is not training, such as evaluation, inspection and diagnosis.
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

// Returns the configuration of a run with `overrides`. Throws Error(bad_input) where there is no such run.
Config run_config(const RunDirectory& directory, const std::vector<std::string>& overrides);

// Collective. `overrides` are as on the command line, for example "data.file=elsewhere.h5". The data must have the
// digest that the run was trained on. Throws Error(bad_input) where the directory holds no run, no valid checkpoint or
// no basis.
LoadedRun load_run(const RunDirectory& directory, const std::vector<std::string>& overrides, Communicator& communicator,
                   const Placement& placement = {});

}  // namespace spankey
