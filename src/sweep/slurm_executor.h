// Submits a sweep to Slurm as an array of workers that take trials from the ledger (launch/sweep.sbatch).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sweep/plan.h"

namespace spankey {

struct SlurmOptions {
  std::filesystem::path directory;  // D
  std::filesystem::path script;     // launch/sweep.sbatch, searched above the program and the current folder if empty
  int ranks_per_trial = 1;
  int nice = 0;
  std::int64_t max_running = 0;  // most workers of one call, 0 for one per waiting trial
  // Options of sbatch beside those of the plan, which they outdo. Neither changes the array or the number of tasks.
  std::vector<std::string> sbatch;
};

// Divides `workers` into arrays of at most `max_array_size`, which Slurm also applies to the index.
std::vector<std::int64_t> array_sizes(std::int64_t workers, std::int64_t max_array_size);

// Submits min(waiting, max_running) workers and returns the ids of the arrays, which are also saved in D/slurm/jobs.
// Throws Error(bad_input) where sbatch or the script is missing or refuses.
std::vector<std::string> submit_to_slurm(const SweepPlan& plan, std::int64_t waiting, const SlurmOptions& options);

// Removes the workers that have not begun from the queue. Running workers see D/CANCEL.
void cancel_in_slurm(const std::filesystem::path& directory);

}  // namespace spankey
