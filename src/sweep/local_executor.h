// Runs the trials of a sweep as processes of this machine, so many at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "record/ledger.h"
#include "sweep/plan.h"

namespace spankey {

struct LocalOptions {
  std::filesystem::path directory;  // D
  int jobs = 1;                     // trials at a time
  int ranks_per_trial = 1;
  int nice = 0;
  bool wait_for_others = true;  // stay until trials that other workers run have ended, to take over what they leave
};

// The command line that runs a trial. It exits with 0 and leaves a result.json whose config_hash is the trial's, or
// with one of the codes of `spankey train`; started again, it goes on.
using TrialCommand = std::function<std::vector<std::string>(const PlannedTrial&)>;

// `spankey train` on STORE/<id>/sweep/config.toml, which it writes; under mpirun with more than one rank.
TrialCommand train_command(const SweepPlan& plan, const Ledger& ledger, int ranks);

// Takes trials, longest first, until none is left. Prints a line for each one that ends. Stops with checkpoints on a
// signal, on D/CANCEL and after plan.max_hours. Returns done, run_failed where trials failed, requeue after a stop.
// Where the store cannot be written it pauses (sweep/store_fault.h); Error(run_failed) with the reason where that does
// not pass, after the trials that run have ended.
ExitCode run_local(const SweepPlan& plan, Ledger& ledger, const TrialCommand& command, const LocalOptions& options);

}  // namespace spankey
