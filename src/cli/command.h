// The sub-commands: each one parses its arguments, calls, prints, and says how the program ends.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

#include "base/error.h"
#include "cli/program.h"
#include "config/config.h"

namespace spankey {
class Communicator;
}

namespace spankey::cli {

// What the parsed command line asks for; set by the callback of the sub-command that was named.
using Action = std::function<ExitCode()>;

void add_train(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_config(CLI::App& app, Action& action);
void add_data(CLI::App& app, Action& action);
void add_devices(CLI::App& app, Action& action);
void add_diagnose(CLI::App& app, Action& action);
void add_attack(CLI::App& app, Action& action);
void add_sweep(CLI::App& app, Action& action);
void add_report(CLI::App& app, Action& action);

// Starts communicator, log and signal handlers, runs `work`, and turns errors into one line and an exit code. An error
// that not all ranks share ends the whole job. Before anything is done, the launcher must have started as many ranks as
// MPI knows, and all of them with the same command line: Error(bad_input).
ExitCode with_communicator(const DistConfig& config, const std::function<ExitCode(Communicator&)>& work);

// Runs `action` and turns its error into one line (from rank 0 of the launcher first) and an exit code.
ExitCode report_errors(const Action& action);

}  // namespace spankey::cli
