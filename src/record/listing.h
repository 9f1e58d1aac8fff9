// Finds the runs and sweeps below a folder and tells how each of them stands, from files alone.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "record/ledger.h"

namespace spankey {

enum class RunState {
  done,     // it has a result
  running,  // a process that may be alive holds its lease
  failed,   // its last words are an error
  stopped,  // it has a checkpoint and would go on from there
  begun     // it has none yet
};
std::string to_string(RunState state);

struct ListedRun {
  std::filesystem::path folder;  // below the folder that was searched, "." for that folder itself
  RunState state = RunState::begun;
  std::int64_t step = -1;  // of the newest checkpoint, -1 without one
  // Accuracies of the result, or else of the last evaluation, nothing without one. `worst` is the most that anybody
  // without a valid key gets.
  std::optional<double> correct, no_key, worst, withheld;
  std::string stopped_early;  // why it ended before its last epoch
  std::string reason;         // of a failure
  std::string unreadable;     // why its result cannot be read
  double age_seconds = 0.0;   // since it last wrote a line or a result
};

struct ListedSweep {
  std::filesystem::path folder;
  std::string name;
  SweepCounts counts;
  std::string unreadable;
  double age_seconds = 0.0;  // since a trial last wrote a line, or since the plan was written
};

struct RunList {
  std::vector<ListedRun> runs;      // by folder
  std::vector<ListedSweep> sweeps;  // by folder
};

// A run directory has config.toml beside metrics.jsonl, checkpoints or result.json. A sweep has sweep.json. Nothing
// below either is searched, nor are hidden folders or what links point to. Throws Error(bad_input) where `top` is no
// folder that can be read.
RunList list_runs(const std::filesystem::path& top);

// Returns a table for the screen, at most so many rows of each kind as lists of trials have. A finished run that
// stopped early is "done, early" in it.
std::string listing_text(const RunList& listing);
// Returns {"runs": [{"folder", "state", "reason", "step", "correct_key", "no_key", "worst", "withheld",
// "age_seconds"}], "sweeps": [{"folder", "name", "trials", "done", "running", "failed", "waiting", "age_seconds"}]}.
nlohmann::json to_json(const RunList& listing);

}  // namespace spankey
