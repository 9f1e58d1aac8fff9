// The sub-commands. Each one parses its arguments, calls the libraries, prints, and returns the exit code.
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

// The work that the parsed command line asks for. The callback of the sub-command that was named sets it.
using Action = std::function<ExitCode()>;

void add_train(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_ls(CLI::App& app, Action& action);
void add_watch(CLI::App& app, Action& action);
void add_config(CLI::App& app, Action& action);
void add_data(CLI::App& app, Action& action);
void add_devices(CLI::App& app, Action& action);
void add_diagnose(CLI::App& app, Action& action);
void add_attack(CLI::App& app, Action& action);
void add_key(CLI::App& app, Action& action);
void add_predict(CLI::App& app, Action& action);
void add_export(CLI::App& app, Action& action);
void add_import(CLI::App& app, Action& action);
void add_sweep(CLI::App& app, Action& action);
void add_report(CLI::App& app, Action& action);
void add_completion(CLI::App& app, Action& action);
void add_manual(CLI::App& app, Action& action);

// Starts communicator, log and signal handlers, runs `work`, and turns errors into one line and an exit code. An error
// that not all ranks share ends the whole job. First it checks that the launcher has started as many ranks as MPI
// knows, all of them with the same command line, and throws Error(bad_input) otherwise.
ExitCode with_communicator(const DistConfig& config, const std::function<ExitCode(Communicator&)>& work);

// Runs `action` and turns its error into an exit code and one line, printed by rank 0 of the launcher first.
ExitCode report_errors(const Action& action);

}  // namespace spankey::cli
