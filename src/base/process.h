// Processes: how one is started, how one has ended, and what the system tells about one.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace spankey {

struct ProcessStart {
  std::vector<std::string> command = {};  // The first word is looked up in PATH. No shell reads the others.
  std::optional<std::vector<std::string>> environment = {};  // "NAME=value"; none: that of this process
  // Descriptors that become standard input, output and error; -1: those of this process.
  int input = -1, output = -1, error = -1;
  std::vector<int> cores = {};    // where it may run; empty: where this process may
  int nice = 0;                   // is added to that of this process
  bool own_group = false;         // Ctrl-C does not reach it
  bool ends_with_thread = false;  // The kernel kills it (SIGKILL) when the thread that starts it ends.
};

// The exit code of a process whose program is not there, as in a shell.
constexpr int exit_no_such_program = 127;

// Returns the number of the new process, which waitpid() has to collect. Signals that this process ignores have their
// default again. A program that is not there is no error here: the process has ended with exit_no_such_program. Error
// where the system cannot start a program that is there.
pid_t start_process(const ProcessStart& start);

// What a shell calls the exit code: 128 + the signal where one has ended the process. `status` as from waitpid().
int exit_code_of_status(int status);

// What /proc/<pid>/stat tells.
struct ProcessFacts {
  std::string name = {};  // of the program, cut to 15 bytes
  char state = 0;         // R, S, T (stopped), Z (ended, and its parent has not asked), ...
  pid_t parent = 0;
  std::string start_time = {};  // clock ticks since the machine was started
};

// None where there is no such process.
std::optional<ProcessFacts> look_up_process(pid_t process);

// The file of the program that runs; empty where /proc does not tell it.
std::filesystem::path program_path();

// The numbers of the cores that a process may run on, in order. `process` 0 is this one. Empty where the system does
// not tell.
std::vector<int> allowed_cores(pid_t process = 0);

}  // namespace spankey
