// What the program and its commands say of themselves in --help.
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
    Summary{"train", "Train a network, or go on where the run directory stands"},
    Summary{"eval", "Measure what the keys of a trained run open"},
    Summary{"data", "Import, render and inspect data sets"},
    Summary{"inspect", "Show what a data set, checkpoint, basis or run directory holds"},
    Summary{"diagnose", "Set what the mathematics predicts for a trained run beside what is measured"},
    Summary{"attack", "Measure what an attacker of stated knowledge and means gets from a trained run"},
    Summary{"config", "Print the resolved configuration"},
    Summary{"devices", "List what networks can run on here"},
    Summary{"sweep", "Run a grid of trials: plan, run, status, resume, cancel"},
    Summary{"report", "Tables, plots and one page about a run, a sweep or a folder of runs"},
};

// Name, first line, version and last lines of the program.
void describe_program(CLI::App& app);

// A command of the program, with its summary.
CLI::App* add_command(CLI::App& app, const std::string& name);

// The end of a command's --help: `notes`, and a line that can be typed as it stands.
void end_help(CLI::App& command, const std::string& example, const std::string& notes = "");

// Versions of the program and of what it was built with. Loads nothing: `spankey devices` says what works here.
std::string version_text();

}  // namespace spankey::cli
