// Runs the trials of a sweep inside one MPI job.
#pragma once

#include <filesystem>
#include <functional>

#include "base/error.h"
#include "dist/communicator.h"
#include "record/ledger.h"
#include "sweep/plan.h"

namespace spankey {

// Attacks a trained run on all ranks of `group`, for so many seconds at most (0: as long as it takes). Returns the code
// with which `spankey attack` would exit.
using TrialAttack = std::function<ExitCode(const std::filesystem::path& run, double max_seconds, Communicator& group)>;

struct MpiOptions {
  std::filesystem::path directory;  // D
  int ranks_per_trial = 1;
  TrialAttack attack = {};  // follows the training of trials that an attack is part of
};

// Collective over `world`, whose ranks are divided into groups of options.ranks_per_trial. Throws Error(bad_input)
// where that does not divide them. Rank 0 reads the ledger for all. The first rank of each group takes the longest
// trial that is left of its share, then of the others' (the ledger's leases keep groups and other workers apart), and
// the group trains it, and attacks it where that is part of it. A group without a trial looks again, less and less
// often, until all have ended. The output of a trial goes to its log.
//
// An error on which the ranks of a group agree (bad option, NaN) ends that trial as failed. A group that cannot read or
// write its trial's files releases the trial and pauses (sweep/store_fault.h). If that does not pass, its first rank
// ends the job with the reason. Any other error ends the job, and the running trials stay waiting. Returns done,
// run_failed where trials failed, and requeue after a stop (signal, D/CANCEL, plan.max_hours).
ExitCode run_mpi(const SweepPlan& plan, Ledger& ledger, const MpiOptions& options, Communicator& world);

}  // namespace spankey
