// Loads a run directory for everything that is not training, such as evaluation, inspection and diagnosis.
#pragma once

#include <string>
#include <vector>

#include "dist/communicator.h"
#include "record/cursor.h"
#include "record/run_directory.h"
#include "spankey/keys/basis.h"
#include "train/experiment.h"

namespace spankey {

// What somebody holds who has copied a run directory without its secret/.
struct LoadedNetwork {
  Experiment experiment;  // model with the published weights of the newest valid checkpoint
  Cursor cursor;
  std::string checkpoint;    // its path, for messages
  std::string basis_digest;  // of the basis that it was trained with
};

struct LoadedRun {
  Experiment experiment;
  Basis basis;
  Cursor cursor;
};

// Returns the configuration of a run with `overrides`. Throws Error(bad_input) where there is no such run.
Config run_config(const RunDirectory& directory, const std::vector<std::string>& overrides);

// Collective. `overrides` as on the command line, for example "data.file=elsewhere.h5". The data must have the digest
// that the run was trained on. Error(bad_input) where the directory holds no run or no valid checkpoint.
LoadedNetwork load_network(const RunDirectory& directory, const std::vector<std::string>& overrides,
                           Communicator& communicator, const Placement& placement = {});

// Returns the basis of secret/ that belongs to these weights. Throws Error(bad_input) where it is missing or another
// one.
Basis load_basis_of(const LoadedNetwork& network, const RunDirectory& directory);

// Collective. Does the work of load_network() and load_basis_of().
LoadedRun load_run(const RunDirectory& directory, const std::vector<std::string>& overrides, Communicator& communicator,
                   const Placement& placement = {});

}  // namespace spankey
