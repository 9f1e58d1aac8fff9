#include "sweep/child_process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <string_view>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/launch.h"
#include "base/process.h"

namespace spankey {
namespace {

std::vector<std::string> visible_gpus() {
  std::vector<std::string> gpus;
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
    std::istringstream list(visible);
    for (std::string gpu; std::getline(list, gpu, ',');) gpus.push_back(gpu);
    return gpus;
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", error)) {
    static_cast<void>(entry);
    gpus.push_back(std::to_string(gpus.size()));
  }
  return gpus;
}

// The environment of a child: ours, with the GPUs of its slot and the cores that its ranks share. The affinity alone
// does not tell a rank whether the cores that it may use are its own (train/resources.h, cores_of_rank).
std::vector<std::string> child_environment(const ChildOptions& options) {
  const auto& slot = options.slot;
  std::vector<std::string> variables;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view text(*variable);
    if (!slot.gpus.empty() && text.starts_with("CUDA_VISIBLE_DEVICES=")) continue;
    if (!slot.cores.empty() && text.starts_with("SPANKEY_CORES=")) continue;
    variables.emplace_back(text);
  }
  if (!slot.gpus.empty()) variables.push_back("CUDA_VISIBLE_DEVICES=" + slot.gpus);
  if (slot.cores.empty()) return variables;
  variables.push_back(fmt::format("SPANKEY_CORES={}", slot.cores.size()));
  const auto threads = std::max<std::size_t>(1, slot.cores.size() / static_cast<std::size_t>(options.ranks));
  if (!std::getenv("OMP_NUM_THREADS")) variables.push_back(fmt::format("OMP_NUM_THREADS={}", threads));
  return variables;
}

}  // namespace

std::vector<Slot> make_slots(int count, int ranks) {
  std::vector<Slot> slots(static_cast<std::size_t>(count));
  const auto cores = allowed_cores();
  const std::size_t cores_each = cores.size() / slots.size();
  const auto gpus = visible_gpus();
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (cores_each > 0) {
      const auto first = cores.begin() + static_cast<std::ptrdiff_t>(i * cores_each);
      slots[i].cores.assign(first, first + static_cast<std::ptrdiff_t>(cores_each));
    }
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(ranks) && rank < gpus.size(); ++rank) {
      const auto& gpu = gpus[(i * static_cast<std::size_t>(ranks) + rank) % gpus.size()];
      slots[i].gpus += (slots[i].gpus.empty() ? "" : ",") + gpu;
    }
  }
  return slots;
}

ChildProcess::ChildProcess(const ChildOptions& options)
    : under_mpirun_(!options.command.empty() && options.command.front() == "mpirun") {
  make_writable_folder(options.log.parent_path());
  const Descriptor output(open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!output.valid()) fail_system(errno, "{} cannot be written", options.log.string());
  // A group of its own, so that Ctrl-C reaches the worker alone, which asks the trial for a checkpoint.
  pid_ = start_process({.command = options.command,
                        .environment = child_environment(options),
                        .output = output.get(),
                        .error = output.get(),
                        .cores = options.slot.cores,
                        .nice = options.nice,
                        .own_group = true,
                        .ends_with_thread = true});
}

ChildProcess::~ChildProcess() {
  if (poll()) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::optional<int> ChildProcess::poll() {
  int status = 0;
  if (!exit_code_ && waitpid(pid_, &status, WNOHANG) == pid_) exit_code_ = exit_code_of_status(status);
  return exit_code_;
}

void ChildProcess::signal(int number) {
  if (poll()) return;
  const bool asks_to_stop = number == SIGUSR2 && under_mpirun_;
  kill(asks_to_stop ? takes_stop_request(mpirun_here(), pid_) : pid_, number);
}

}  // namespace spankey
