// The command `spankey sweep status`. It needs files alone, so both programs have it (docs/decisions/start-up.md).
#pragma once

#include <filesystem>
#include <string>

#include "cli/command.h"

namespace spankey::cli {

// Adds the command `sweep` without its sub-commands.
CLI::App* add_sweep_itself(CLI::App& app);

void add_sweep_status(CLI::App& sweep, Action& action);

// Returns the absolute path of a sweep's folder. It is `directory` (--dir), or runs/<name of the file> where that is
// empty. Throws Error(bad_input) where both are empty, and where the name is not UTF-8, which plan and ledger could not
// hold.
std::filesystem::path sweep_directory(const std::string& file, const std::string& directory);

inline constexpr const char* sweep_directory_help = "folder of the sweep; default: runs/<name of the file>";

}  // namespace spankey::cli
