// Reads run directories for a report, with configuration, result and status of the run. It changes nothing.
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

enum class RunStatus { done, unfinished, running, failed, waiting, stopped };  // `stopped` by halving
std::string to_string(RunStatus status);

struct RunRecord {
  std::filesystem::path directory;
  std::string label;  // what a sweep varies in it, empty for a run that belongs to none
  RunStatus status = RunStatus::unfinished;
  std::string reason;         // of a failure, of halving or of an early stop, otherwise empty
  std::filesystem::path log;  // of a failure, otherwise empty
  Config config;
  std::string hash;         // config_hash, empty where unknown
  std::string data_digest;  // empty where unknown
  // result.json with the verdict of this version and, where the run was attacked, "attacks" as attack_summary() has
  // them. Null unless done.
  nlohmann::json result;
  nlohmann::json attacks;  // attack.json of these weights, null where there is none
  // The progress of an unfinished run, from its metrics.jsonl. 0 and null where that is unknown.
  std::int64_t steps_done = 0, epochs_done = 0;
  nlohmann::json last_evaluation;  // in the form of result.json

  // What people know it by: the label, or else the name of the folder.
  std::string name() const;
  // Seconds of training, 0 unless done.
  double seconds() const;
  // Ranks x compute threads x seconds / 3600. nullopt on GPUs, and where the number of threads was not recorded.
  std::optional<double> core_hours() const;
  // Ranks x seconds / 3600. nullopt unless train.device = "cuda", or the result says that it ran on a GPU.
  std::optional<double> gpu_hours() const;
};

struct DamagedRun {
  std::filesystem::path path;
  std::string reason;
};

struct RunCollection {
  std::string title;  // the names of the sweeps or directories that were asked for
  std::vector<RunRecord> runs;
  std::vector<DamagedRun> damaged;  // left out and named in a warning
};

// Reads all runs of `directories`. A directory is a run directory, a sweep directory (`spankey sweep run`, whose trials
// may be in a shared store) or any folder that contains such directories, or links to them, at any depth. A run that is
// reached twice counts once. A link to a folder that contains the link is skipped. Throws Error(bad_input) where a
// directory does not exist, or where none of them holds a run.
RunCollection collect_runs(const std::vector<std::filesystem::path>& directories);

}  // namespace spankey
