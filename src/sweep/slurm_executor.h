// Hands a sweep to Slurm: an array of workers that take trials from the ledger (launch/sweep.sbatch).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sweep/plan.h"

namespace spankey {

struct SlurmOptions {
  std::filesystem::path directory;  // D
  std::filesystem::path script;     // launch/sweep.sbatch; empty: looked for above the program and the current folder
  int ranks_per_trial = 1;
  int nice = 0;
  std::int64_t max_running = 0;  // workers that one call submits at most; 0: one for each waiting trial
};

// Sizes of the arrays for so many workers: each at most `max_array_size`, which in Slurm bounds the index as well.
std::vector<std::int64_t> array_sizes(std::int64_t workers, std::int64_t max_array_size);

// Submits min(waiting, max_running) workers and returns the ids of the arrays, which are also kept in D/slurm/jobs.
// Error(bad_input) where sbatch or the script is missing or refuses.
std::vector<std::string> submit_to_slurm(const SweepPlan& plan, std::int64_t waiting, const SlurmOptions& options);

// Takes the workers that have not begun off the queue. Those that run see D/CANCEL.
void cancel_in_slurm(const std::filesystem::path& directory);

}  // namespace spankey
