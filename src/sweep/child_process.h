// A program that a worker starts for one trial. It runs on its own cores, writes its output to a file, and ends with
// the worker at the latest.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace spankey {

// The cores (and GPUs) of one of several trials that run at the same time.
struct Slot {
  std::vector<int> cores;  // if empty, the system chooses
  std::string gpus;        // CUDA_VISIBLE_DEVICES, inherited if empty
};

// Makes `count` slots over the cores that this process may use and the GPUs it sees (CUDA_VISIBLE_DEVICES, or all of
// the machine). They are disjoint where there are enough cores. With more slots than cores nothing is pinned. `ranks`
// is the number of GPUs for each slot.
std::vector<Slot> make_slots(int count, int ranks);

struct ChildOptions {
  std::vector<std::string> command;  // the first word is the program
  std::filesystem::path log;         // standard output and error, appended
  Slot slot;
  int ranks = 1;  // ranks of the program, which share the cores of the slot
  int nice = 0;
};

class ChildProcess {
 public:
  // Throws Error(run_failed) where the process cannot be started. The process is killed (SIGKILL) when the calling
  // thread ends.
  explicit ChildProcess(const ChildOptions& options);
  ~ChildProcess();  // kills it if it still runs
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Its exit code once it has ended. The code is 128 + the signal where one ended it, and 127 where the program does
  // not exist.
  std::optional<int> poll();
  // USR2, the request to stop, goes to whoever passes it on to the ranks.
  void signal(int number);

 private:
  bool under_mpirun_;
  int pid_ = -1;
  std::optional<int> exit_code_;
};

}  // namespace spankey
