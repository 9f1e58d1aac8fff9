// Runs the trials of a sweep as processes of this machine, several at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "record/ledger.h"
#include "sweep/plan.h"

namespace spankey {

// The command line that runs a trial. It exits with 0 and leaves a result.json whose config_hash is the trial's, or
// exits with one of the codes of `spankey train`. If it is started again, it continues.
using TrialCommand = std::function<std::vector<std::string>(const PlannedTrial&)>;

struct LocalOptions {
  std::filesystem::path directory;  // D
  int jobs = 1;                     // trials at the same time
  int ranks_per_trial = 1;
  int nice = 0;
  TrialCommand attack = {};     // follows a command that exits with 0, in trials that an attack is part of
  bool wait_for_others = true;  // wait until the trials of other workers have ended, and take over what they leave
};

// Runs `spankey train` on STORE/<id>/sweep/config.toml, which it writes. With more than one rank it runs under mpirun.
TrialCommand train_command(const SweepPlan& plan, const Ledger& ledger, int ranks);
// Runs `spankey attack` on STORE/<id> with the options of the plan.
TrialCommand attack_command(const SweepPlan& plan, const Ledger& ledger, int ranks);

// Runs trials, longest first, until none is left. It prints a line for each one that ends. It stops with checkpoints on
// a signal, on D/CANCEL and after plan.max_hours. Returns done, run_failed where trials failed, and requeue after a
// stop. Where the store cannot be written it pauses (sweep/store_fault.h). If that does not pass, it throws
// Error(run_failed) with the reason after the running trials have ended.
ExitCode run_local(const SweepPlan& plan, Ledger& ledger, const TrialCommand& command, const LocalOptions& options);

}  // namespace spankey
