// Starts a short program and waits for its end.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace spankey {

struct ProgramOutcome {
  int exit_code = 127;     // 128 + the signal that ended it; 127, as in a shell: there is no such program
  std::string out, err;    // standard output and error
  bool timed_out = false;  // it was killed

  bool missing() const { return exit_code == 127; }
  // What it says about a failure: the last line of its standard error that is not blank.
  std::string complaint() const;
};

// The first word is looked up in PATH, no shell sees the others; standard input is empty. After `limit` the program is
// killed. An Error where the system cannot start it although it is there.
ProgramOutcome run_program(const std::vector<std::string>& command, std::chrono::milliseconds limit);

}  // namespace spankey
