// A sweep that has been worked out: every trial with its identity and its estimated cost.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/config.h"
#include "sweep/sweep_file.h"

namespace spankey {

struct PlannedTrial {
  std::string id;      // first 16 digits of `hash`: the name of its run directory
  std::string hash;    // config_hash of the resolved configuration with the digest of its data
  Settings settings;   // every override of the base: what is fixed, then what is varied
  std::string label;   // the varied settings as text
  double seconds = 0;  // estimated: training and evaluation on one rank
};

struct SweepPlan {
  std::string name;
  std::string base_name;  // the base configuration: its path as written in messages, and its text
  std::string base_text;
  std::filesystem::path store;  // absolute
  double max_hours = 0.0;       // 0: no limit
  std::string cost_source;      // where the estimates come from, for people
  std::vector<PlannedTrial> trials;
  std::vector<std::string> notes;  // for people, not kept: trials that are equal in law, see config/law.h
  // Of make_plan alone, not kept: combinations of the sweep file, and why there are fewer trials, for people.
  std::uint64_t combinations = 0;
  std::vector<std::string> merged;
};

struct PlanOptions {
  std::filesystem::path directory;  // D
  bool many_trials = false;         // more than 100,000 are meant
};

// Every trial is resolved and checked before any of them runs. Combinations that come out the same are one trial, and
// `merged` says why; an axis whose values all come out the same is refused. Error(bad_input) names the place in the
// sweep file, the key and the value.
SweepPlan make_plan(const SweepFile& file, const PlanOptions& options);

// The resolved configuration of one trial; data.file is absolute, so that it can be run from anywhere.
Config trial_config(const SweepPlan& plan, const PlannedTrial& trial);

// The plan as JSON text, and back; Error(bad_input) names `name`.
std::string plan_json(const SweepPlan& plan);
SweepPlan parse_plan(const std::string& text, const std::string& name);

// D/sweep.json: what workers, `status` and reports read. Not rewritten where the trials are the same.
std::filesystem::path plan_path(const std::filesystem::path& directory);
void save_plan(const SweepPlan& plan, const std::filesystem::path& directory);
// Error(bad_input) where D holds no sweep or a damaged one.
SweepPlan load_plan(const std::filesystem::path& directory);

}  // namespace spankey
