// Starts the real program (or any other) as a user would and collects what it says.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace spankey::test {

struct Outcome {
  int exit_code = -1;  // 128 + signal where a signal ended it
  std::string out, err;
  bool timed_out = false;
};

// A running child. It and its descendants are killed with the object.
class Child {
 public:
  Child(const std::vector<std::string>& command, const std::filesystem::path& working_directory);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int pid() const { return pid_; }
  bool running();
  void signal(int number);  // to the child alone
  void kill_tree();         // SIGKILL to the child and all its descendants at once, as a node that loses power would do
  Outcome wait(std::chrono::seconds limit = std::chrono::seconds(100));

 private:
  void reap(int status);

  int pid_ = -1;
  bool reaped_ = false;
  int exit_code_ = -1;
  std::filesystem::path out_, err_;
};

Outcome run(const std::vector<std::string>& command, const std::filesystem::path& working_directory,
            std::chrono::seconds limit = std::chrono::seconds(100));

// Returns the state letter of a process or thread, by its folder in /proc, such as R, S, T (stopped) or Z. Returns 0
// where it is gone.
char state_of(const std::filesystem::path& folder);
std::vector<pid_t> children_of(pid_t pid);

// Returns the path "build/bin/spankey" of this build.
std::string program();
// Returns the path of a file of the source tree.
std::filesystem::path source(const std::string& relative);
// Returns the command line that starts `arguments` of the program on `ranks` ranks (without mpirun for 1).
std::vector<std::string> on_ranks(int ranks, std::vector<std::string> arguments);

}  // namespace spankey::test
