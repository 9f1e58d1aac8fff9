// The trials of a sweep as they are in its folder, where workers, `spankey sweep status` and reports read them.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"

namespace spankey {

// One configuration key with its value as TOML text, such as {"key.m", "8"}.
struct Setting {
  std::string key;
  std::string value;
  auto operator<=>(const Setting&) const = default;
};
using Settings = std::vector<Setting>;

// Text such as "key.m=8 run.seed=42".
std::string settings_text(const Settings& settings);

// What follows the training of each trial, as options of `spankey attack`. What is empty or 0 is left to the preset.
struct SweepAttack {
  std::string preset = "quick";
  std::vector<std::string> ids;
  std::vector<std::int64_t> images;
  std::int64_t seeds = 0;

  bool operator==(const SweepAttack&) const = default;
};
// {"--preset", "quick", "--images", "10,60"}
std::vector<std::string> options_of(const SweepAttack& attack);

// Which trials go on after an epoch (record/halving.h).
struct SweepHalving {
  std::string metric;  // record/objective.h
  bool maximise = true;
  std::vector<std::int64_t> rungs;  // epochs after which trials pause, ascending
  std::int64_t factor = 3;          // one of so many goes on

  bool operator==(const SweepHalving&) const = default;
};
const char* goal_word(const SweepHalving& halving);  // "max" or "min"

struct PlannedTrial {
  std::string id;           // first 16 digits of `hash`, the name of its run directory
  std::string hash;         // config_hash of the resolved configuration with the digest of its data
  Settings settings;        // every override of the base, first the fixed ones, then the varied ones
  std::string label;        // the varied settings as text
  double seconds = 0;       // estimate for training and evaluation on one rank
  std::string attack;       // options of the attack that is part of it, as one text. Empty without an attack
  std::int64_t epochs = 0;  // train.epochs, known in a sweep with halving
};

struct SweepPlan {
  std::string name;
  std::string base_name;  // path of the base configuration as written in messages, and its text
  std::string base_text;
  std::filesystem::path store;  // absolute
  double max_hours = 0.0;       // 0 for no limit
  std::optional<SweepAttack> attack;
  std::optional<SweepHalving> halving;
  std::vector<std::string> sbatch;  // options of sbatch for --executor slurm, from [slurm] of the sweep file
  std::filesystem::path directory;  // D, where its decisions are. Not saved, but set by make_plan and load_plan
  std::string cost_source;          // where the estimates come from, for people
  std::vector<PlannedTrial> trials;
  std::vector<std::string> notes;  // for people, not saved, on trials that are equal in law (config/law.h)
  // Only make_plan sets these, and they are not saved. They are the combinations of the sweep file and, for people, the
  // reasons why there are fewer trials.
  std::uint64_t combinations = 0;
  std::vector<std::string> merged;
};

// Makes data.file absolute, so that the configuration can be run from anywhere. Names of built-in data stay.
void make_data_path_absolute(Config& config);

// The resolved configuration of one trial. data.file is absolute, so that the trial can run from anywhere.
Config trial_config(const SweepPlan& plan, const PlannedTrial& trial);

// Convert the plan to JSON text and back. Error(bad_input) names `name`.
std::string plan_json(const SweepPlan& plan);
SweepPlan parse_plan(const std::string& text, const std::string& name);

// The path D/sweep.json, which workers, `status` and reports read. save_plan() does not rewrite it where the trials are
// the same.
std::filesystem::path plan_path(const std::filesystem::path& directory);
void save_plan(const SweepPlan& plan, const std::filesystem::path& directory);
// Throws Error(bad_input) where D holds no sweep or a damaged one.
SweepPlan load_plan(const std::filesystem::path& directory);

}  // namespace spankey
