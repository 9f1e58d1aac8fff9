// Describes what ended the work, for a person, with an exit code and one sentence that says what to change.
#pragma once

#include <exception>
#include <string>

#include "base/error.h"

namespace spankey::cli {

struct Failure {
  ExitCode code;
  std::string sentence;  // one line
  std::string details;   // LibTorch's stack frames for the log file, which may be empty
};

// Describes an error. If the machine lacks memory or threads, the sentence says which settings need less of them.
Failure describe(const std::exception& error);

// Makes ends that do not come through main() leave one line and exit code 3 as well. Such ends are an error that no one
// catches (in a thread that a library has started, say), and a library that calls exit(1), as OpenMP's does where it
// cannot start its threads.
void install_end_handlers();

// main() calls this before it returns, so that the end counts as orderly.
void announce_return();

}  // namespace spankey::cli
