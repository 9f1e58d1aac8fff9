// Run directories as a report reads them: configuration, result and what became of the run. Nothing is changed.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"

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
  nlohmann::json result;    // result.json; null unless done

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
  std::string title;  // the sweep's name, or that of the first directory
  std::vector<RunRecord> runs;
  std::vector<DamagedRun> damaged;  // left out, each named in a warning
};

// A directory is a run directory, a sweep directory (`spankey sweep run`, whose trials may lie in a shared store) or
// any folder that has such directories below it; a run that is reached twice counts once. Error(bad_input) where a
// directory does not exist, or where none of them holds a run.
RunCollection collect_runs(const std::vector<std::filesystem::path>& directories);

// "no_key.accuracy", "train.wrong_key.accuracy.max": the number there, `mean` of an object of figures; nothing where
// it is null or missing.
std::optional<double> figure(const nlohmann::json& result, std::string_view path);

// Largest accuracy that was reached without a valid key on the test split: no key, every wrong key and every family
// tried, as shipped and with the rejection ignored. What was not tried is not in it.
// Where every batch had a key of its own (eval.keys = 0), means over keys stand in for single keys, whose figures would
// be those of one batch.
double worst_case(const RunRecord& run);

// Largest accuracy of a single wrong key, of any family, as shipped; likewise.
double best_wrong_key(const RunRecord& run);

}  // namespace spankey
