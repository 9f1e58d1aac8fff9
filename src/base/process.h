// Starts processes, and tells how they ended and what the system knows of them.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace spankey {

struct ProcessStart {
  std::vector<std::string> command = {};  // The first word is looked up in PATH. No shell reads the others.
  std::optional<std::vector<std::string>> environment = {};  // "NAME=value"; that of this process without a value
  // Descriptors that become standard input, output and error. -1 keeps that of this process.
  int input = -1, output = -1, error = -1;
  std::vector<int> cores = {};    // where it may run, everywhere that this process may where it is empty
  int nice = 0;                   // is added to that of this process
  bool own_group = false;         // Ctrl-C does not reach it
  bool ends_with_thread = false;  // The kernel kills it (SIGKILL) when the thread that starts it ends.
};

// The exit code of a process whose program does not exist, as in a shell.
constexpr int exit_no_such_program = 127;

// Returns the number of the new process, which the caller must pass to waitpid(). Signals that this process ignores are
// reset to their default. A program that does not exist is no error here, because the new process then ends with
// exit_no_such_program. Throws an Error where the system cannot start a program that exists.
pid_t start_process(const ProcessStart& start);

// Returns the exit code as a shell reports it, which is 128 + the signal where a signal ended the process. `status`
// comes from waitpid().
int exit_code_of_status(int status);

// What /proc/<pid>/stat tells.
struct ProcessFacts {
  std::string name = {};  // of the program, cut to 15 bytes
  char state = 0;         // R, S, T (stopped), Z (ended, and its parent has not asked), ...
  pid_t parent = 0;
  std::string start_time = {};  // clock ticks since the machine was started
};

// Returns nullopt where there is no such process.
std::optional<ProcessFacts> look_up_process(pid_t process);

// Returns the file of the program that this process runs. Empty where /proc does not tell it.
std::filesystem::path program_path();

// Returns the numbers of the cores that a process may run on, in order. `process` 0 means this one. Empty where the
// system does not tell.
std::vector<int> allowed_cores(pid_t process = 0);

}  // namespace spankey
