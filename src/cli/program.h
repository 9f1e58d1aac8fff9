// The --help texts of the program and its commands.
#pragma once

#include <CLI/CLI.hpp>

#include <array>
#include <string>

namespace spankey::cli {

struct Summary {
  const char* command;
  const char* text;
};

inline constexpr std::array summaries{
    Summary{"train", "Train a network, or continue the run in the run directory"},
    Summary{"eval", "Measure what the keys of a trained run open"},
    Summary{"data", "Import, render and inspect data sets"},
    Summary{"inspect", "Show what a data set, checkpoint, basis or run directory holds"},
    Summary{"diagnose", "Compare what the mathematics predicts for a trained run with measurements"},
    Summary{"attack", "Measure what an attacker of stated knowledge and means gets from a trained run"},
    Summary{"ls", "List the runs and sweeps below a folder with their state and figures"},
    Summary{"watch", "Show how runs and sweeps come on, in a table that renews itself"},
    Summary{"key", "Issue, revoke and check keys as files"},
    Summary{"predict", "Ask a network about images, with a user's key or without one"},
    Summary{"export", "Write the weights of a run with their description, for other programs"},
    Summary{"import", "Make a run directory from weights that were exported"},
    Summary{"config", "Print the resolved configuration"},
    Summary{"devices", "List the processors and GPUs that networks can run on"},
    Summary{"sweep", "Run a grid of trials: plan, run, status, resume, cancel"},
    Summary{"report", "Tables, plots and one page about a run, a sweep or a folder of runs"},
    Summary{"completion", "Print a script that completes commands and configuration keys in a shell"},
    Summary{"manual", "Print the manual page (man)"},
};

// Sets name, first line, version and last lines of the program.
void describe_program(CLI::App& app);

// Adds a command to the program, with its summary.
CLI::App* add_command(CLI::App& app, const std::string& name);

// Sets the end of a command's --help, which is `notes` and an example that can be typed as it stands.
void end_help(CLI::App& command, const std::string& example, const std::string& notes = "");

// Versions of the program and of the libraries it was built with. It loads nothing. `spankey devices` says what works
// here.
std::string version_text();

}  // namespace spankey::cli
