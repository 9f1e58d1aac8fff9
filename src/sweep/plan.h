// A planned sweep, which is every trial with its identity and its estimated cost.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/config.h"
#include "sweep/sweep_file.h"

namespace spankey {

struct PlannedTrial {
  std::string id;      // first 16 digits of `hash`, the name of its run directory
  std::string hash;    // config_hash of the resolved configuration with the digest of its data
  Settings settings;   // every override of the base, first the fixed ones, then the varied ones
  std::string label;   // the varied settings as text
  double seconds = 0;  // estimate for training and evaluation on one rank
};

struct SweepPlan {
  std::string name;
  std::string base_name;  // path of the base configuration as written in messages, and its text
  std::string base_text;
  std::filesystem::path store;  // absolute
  double max_hours = 0.0;       // 0 for no limit
  std::string cost_source;      // where the estimates come from, for people
  std::vector<PlannedTrial> trials;
  std::vector<std::string> notes;  // for people, not saved, on trials that are equal in law (config/law.h)
  // Only make_plan sets these, and they are not saved. They are the combinations of the sweep file and, for people, the
  // reasons why there are fewer trials.
  std::uint64_t combinations = 0;
  std::vector<std::string> merged;
};

struct PlanOptions {
  std::filesystem::path directory;  // D
  bool many_trials = false;         // allows more than 100,000
};

// Resolves and checks every trial before any of them runs. Combinations with the same result are one trial, and
// `merged` says why. An axis whose values all give the same trial is refused. Error(bad_input) names the place in the
// sweep file, the key and the value.
SweepPlan make_plan(const SweepFile& file, const PlanOptions& options);

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
