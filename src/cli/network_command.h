// Shared by the commands that use a network from a run or a file.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "dist/communicator.h"
#include "train/experiment.h"

namespace spankey::cli {

// Returns the configuration of a run with `overrides`. For a file it returns the defaults, whose table [dist] says how
// ranks communicate.
Config config_of_network(const std::filesystem::path& run_or_file, const std::vector<std::string>& overrides);

// Collective. Returns the weights in a safetensors file or a model.skm, which rank 0 reads for all. Null where `file`
// is empty.
std::shared_ptr<const InitialWeights> read_weights(const std::string& file, Communicator& communicator);

}  // namespace spankey::cli
