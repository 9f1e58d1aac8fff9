// What ended the work, for a person: one sentence with what to change, and the exit code.
#pragma once

#include <exception>
#include <string>

#include "base/error.h"

namespace spankey::cli {

struct Failure {
  ExitCode code;
  std::string sentence;  // one line
  std::string details;   // LibTorch's stack frames, for the log file; may be empty
};

// Memory and threads that the machine does not give are told with what takes less of them.
Failure describe(const std::exception& error);

// Ends that do not come through main() leave one line and exit code 3 as well: an error that no one catches (in a
// thread that a library has started, say), and a library that calls exit(1), as OpenMP's does where it cannot start its
// threads.
void install_end_handlers();

// By main() before it returns: what follows is an orderly end.
void announce_return();

}  // namespace spankey::cli
