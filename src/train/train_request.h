// The arguments of train().
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "config/config.h"
#include "train/experiment.h"

namespace spankey {

enum class Resume { automatic, never, require };

struct TrainRequest {
  Config config;
  std::filesystem::path config_file;    // names the default run directory
  std::filesystem::path run_directory;  // empty for the default
  Resume resume = Resume::automatic;
  bool allow_change = false;                             // go on with a configuration that differs from the run's
  std::shared_ptr<const InitialWeights> init = nullptr;  // the same on every rank; none: drawn from run.seed
  std::shared_ptr<const Basis> retired = nullptr;        // the same on every rank; its keys are denied as well
  std::int64_t pause_epochs = 0;  // pause with a checkpoint and an evaluation after so many epochs, 0: never
  bool print_result = true;       // the table at the end
};

}  // namespace spankey
