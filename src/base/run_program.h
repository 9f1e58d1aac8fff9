// Starts a short program and waits for its end.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace spankey {

struct ProgramOutcome {
  int exit_code = 127;     // 128 + the signal that ended it, or 127 (as in a shell) where there is no such program
  std::string out, err;    // standard output and error
  bool timed_out = false;  // it ran past its limit and was killed

  bool missing() const { return exit_code == 127; }
  // What the program says about its failure, which is the last line of its standard error that is not blank.
  std::string complaint() const;
};

// Runs a program without a shell. The first word is looked up in PATH, and standard input is empty. The program is
// killed after `limit`. Throws an Error where the system cannot start a program that exists.
ProgramOutcome run_program(const std::vector<std::string>& command, std::chrono::milliseconds limit);

}  // namespace spankey
