// Reads a sweep as its author writes it (TOML).
//
//   [sweep]
//   base = "../mnist_mode_b.toml"  # relative to this file
//   name = "ablation"              # default: the stem of this file
//   store = "runs/store"           # where trials live, shared by sweeps; relative to the current folder
//                                  # (default: D/trials, D being the sweep's folder)
//   seeds = [42, 43, 44]           # values of run.seed; varies slowest
//   [set]                          # the same in every trial
//   "data.file" = "mnist.h5"
//   [axes]                         # one dimension a key
//   "key.m" = [4, 8, 16]
//   "optim.lr" = {from = 1e-4, to = 1e-2, steps = 5, scale = "log"}  # both ends included; two integers: rounded
//   [[linked]]                     # one dimension: keys that vary together
//   "key.gamma" = [0.5, 1.0]
//   "key.target_std" = [0.5, 0.25]
//   [[trials]]                     # one dimension, written row by row
//   "key.layers" = [0]
//   [[exclude]]                    # combinations to leave out, at least one; keys of [set] count as well
//   "key.m" = 4
//   "key.gamma" = 1.0
//   [random]                       # one dimension of `count` random rows
//   count = 20
//   seed = 1
//   "optim.weight_decay" = {low = 1e-6, high = 1e-2, law = "log_uniform"}  # or "uniform"; or a list to choose from
//   [attack]                       # `spankey attack` follows the training of each trial (vanilla twins have no key)
//   preset = "quick"               # the others are as on its command line, and optional
//   attacks = ["O1", "K5"]
//   images = [10, 60]
//   seeds = 3
//   [halving]                      # the best trials go on after a rung (record/halving.h)
//   metric = "correct_key.accuracy - wrong_key.accuracy.max"
//   goal = "max"                   # or "min"
//   rungs = [1, 3]                 # epochs; or min_epochs = 1, which gives the rungs 1, 3, 9, ... of `factor`
//   factor = 3                     # one of so many goes on
//   [budget]
//   max_trials = 100               # only the first so many
//   max_hours = 8.0                # `run` stops after so many hours, with checkpoints
//   [slurm]                        # options of sbatch for --executor slurm; each is optional
//   account = "project"
//   partition = "gpu"
//   qos = "normal"
//   time = "04:00:00"
//   nodes = 1
//   gpus = 1                       # for each rank
//   memory = "16G"                 # of each node
//   constraint = "a100"
//   mail = "me@example.org"        # at the end of a worker, and when it fails
//
// The trials are the product of all dimensions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "record/sweep_plan.h"
#include "sweep/grid.h"

namespace spankey {

// [halving] as it is written. `rungs` or `min_epochs` is given.
struct HalvingTable {
  std::string place;
  SweepHalving rule;
  std::int64_t min_epochs = 0;
};

struct SweepFile {
  std::filesystem::path path;
  std::string name;
  std::filesystem::path base;
  std::filesystem::path store;  // D/trials if empty
  Grid grid;
  std::optional<SweepAttack> attack;
  std::string attack_place;  // of [attack], for messages
  std::optional<HalvingTable> halving;
  std::int64_t max_trials = 0;      // 0 for all
  double max_hours = 0.0;           // 0 for no limit
  std::vector<std::string> sbatch;  // what [slurm] asks for as options of sbatch, in the order of the file
};

// Throws Error(bad_input) "FILE:LINE: KEY = VALUE: accepted: ..." for mistakes inside this file, which are unknown keys
// of its own tables, empty lists, and a key that is varied twice. expand() finds an exclusion without effect. make_plan
// finds keys that the configuration does not know. Whoever knows the attacks checks the names in `attack`.
SweepFile load_sweep_file(const std::filesystem::path& path);

}  // namespace spankey
