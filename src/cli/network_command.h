// What the commands that use a network which was opened from a run or a file have in common.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "dist/communicator.h"
#include "train/experiment.h"

namespace spankey::cli {

// The configuration of a run with `overrides`. For a file it is the default one: its table [dist] says how ranks talk.
Config config_of_network(const std::filesystem::path& run_or_file, const std::vector<std::string>& overrides);

// Collective. The weights in a safetensors file or a model.skm, read by rank 0 for all. None where `file` is empty.
std::shared_ptr<const InitialWeights> read_weights(const std::string& file, Communicator& communicator);

}  // namespace spankey::cli
