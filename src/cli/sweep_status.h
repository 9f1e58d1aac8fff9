// `spankey sweep status`, which needs files alone: both programs have it (docs/decisions/start-up.md).
#pragma once

#include <filesystem>
#include <string>

#include "cli/command.h"

namespace spankey::cli {

// The command `sweep` without its steps.
CLI::App* add_sweep_itself(CLI::App& app);

void add_sweep_status(CLI::App& sweep, Action& action);

// Where a sweep lives: `directory` (--dir), or runs/<name of the file> where that is empty; absolute. Error(bad_input)
// where both are empty, and where its name is no UTF-8, which plan and ledger could not hold.
std::filesystem::path sweep_directory(const std::string& file, const std::string& directory);

inline constexpr const char* sweep_directory_help = "folder of the sweep; default: runs/<name of the file>";

}  // namespace spankey::cli
