// The trials of a sweep as they lie in its folder: what workers, `spankey sweep status` and reports read.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/config.h"

namespace spankey {

// One configuration key with its value as TOML text: {"key.m", "8"}.
struct Setting {
  std::string key;
  std::string value;
  auto operator<=>(const Setting&) const = default;
};
using Settings = std::vector<Setting>;

// "key.m=8 run.seed=42"
std::string settings_text(const Settings& settings);

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

// Makes data.file absolute, so that the configuration can be run from anywhere; names of built-in data stay.
void make_data_path_absolute(Config& config);

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
