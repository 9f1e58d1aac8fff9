// One run from start (or from its last checkpoint) to its result.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <string>

#include "base/error.h"
#include "config/config.h"
#include "dist/communicator.h"

namespace spankey {

enum class Resume { automatic, never, require };

struct TrainRequest {
  Config config;
  std::filesystem::path config_file;    // names the default run directory
  std::filesystem::path run_directory;  // empty: the default
  Resume resume = Resume::automatic;
  bool allow_change = false;  // go on with a configuration that differs from the run's
};

// Collective; `host` communicates tensors of the CPU. Returns done, or requeue after a stop that was asked for (signal,
// STOP file, train.max_seconds). Prints progress and the final table on rank 0. Throws Error for everything else.
ExitCode train(const TrainRequest& request, Communicator& host);

}  // namespace spankey
