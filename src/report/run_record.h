// Run directories as a report reads them: configuration, result and what became of the run. Nothing is changed.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "record/result.h"

namespace spankey {

enum class RunStatus { done, unfinished, running, failed, waiting };
std::string to_string(RunStatus status);

struct RunRecord {
  std::filesystem::path directory;
  RunStatus status = RunStatus::unfinished;
  std::string reason;         // of a failure, otherwise empty
  std::filesystem::path log;  // of a failure, otherwise empty
  Config config;
  std::string hash;         // config_hash; empty where nothing tells it
  std::string data_digest;  // empty where nothing tells it
  nlohmann::json result;    // result.json with the verdict of this version; null unless done
  // How far a run came that is not done, from its metrics.jsonl: 0 and null where that tells nothing.
  std::int64_t steps_done = 0, epochs_done = 0;
  nlohmann::json last_evaluation;  // as result.json

  // Of training; 0 unless done.
  double seconds() const;
  // Ranks x compute threads x seconds / 3600; nothing on GPUs, and where the number of threads is not recorded.
  std::optional<double> core_hours() const;
  // Ranks x seconds / 3600 of a run with train.device = "cuda", or whose result says that it ran there.
  std::optional<double> gpu_hours() const;
};

struct DamagedRun {
  std::filesystem::path path;
  std::string reason;
};

struct RunCollection {
  std::string title;  // the names of the sweeps or directories that were asked for
  std::vector<RunRecord> runs;
  std::vector<DamagedRun> damaged;  // left out, each named in a warning
};

// A directory is a run directory, a sweep directory (`spankey sweep run`, whose trials may lie in a shared store) or
// any folder that has such directories, or links to such, below it. What is reached twice counts once; a link to a
// folder that it lies in is passed over. Error(bad_input) where a directory does not exist, or where none of them holds
// a run.
RunCollection collect_runs(const std::vector<std::filesystem::path>& directories);

}  // namespace spankey
