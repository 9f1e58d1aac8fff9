// A program that a worker starts for one trial: on its own cores, with its output in a file, and no longer alive than
// the worker.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace spankey {

// The cores (and GPUs) that one of several trials at a time runs on.
struct Slot {
  std::vector<int> cores;  // empty: wherever the system likes
  std::string gpus;        // CUDA_VISIBLE_DEVICES; empty: as inherited
};

// `count` slots over the cores this process may use and the GPUs it sees (CUDA_VISIBLE_DEVICES, or all of the machine):
// disjoint where there are enough; with more slots than cores nothing is pinned. `ranks`: GPUs a slot asks for.
std::vector<Slot> make_slots(int count, int ranks);

struct ChildOptions {
  std::vector<std::string> command;  // the first word is the program
  std::filesystem::path log;         // standard output and error, appended
  Slot slot;
  int ranks = 1;  // of the program: they share the cores of the slot
  int nice = 0;
};

class ChildProcess {
 public:
  // Error(run_failed) where the process cannot be started. It is killed (SIGKILL) when the calling thread ends.
  explicit ChildProcess(const ChildOptions& options);
  ~ChildProcess();  // kills it if it still runs
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Its exit code once it has ended; 128 + the signal where one ended it; 127 where the program is not there.
  std::optional<int> poll();
  void signal(int number);

 private:
  int pid_ = -1;
  std::optional<int> exit_code_;
};

}  // namespace spankey
