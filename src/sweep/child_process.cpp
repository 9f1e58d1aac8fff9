#include "sweep/child_process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sstream>

#include "base/cores.h"
#include "base/file.h"
#include "base/run_program.h"
#include "base/shutdown.h"
#include "base/system_error.h"

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

cpu_set_t core_set(const Slot& slot) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : slot.cores) CPU_SET(core, &set);
  return set;
}

// Everything that the child needs is made before the fork, because other threads may hold the allocator's locks after
// it.
struct ChildImage {
  std::vector<std::string> environment;
  std::vector<char*> arguments, variables;
  cpu_set_t cores;
  bool pinned;
  int nice, output;
  pid_t parent;
  sigset_t back_to_default;
};

// After the fork the child makes system calls only.
[[noreturn]] void become(const ChildImage& image) {
  constexpr int cannot_start = 127;
  // A group of its own, so that Ctrl-C reaches the worker alone, which asks the trial for a checkpoint.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != image.parent) _exit(cannot_start);  // the worker died before it could have killed us
  if (image.pinned) sched_setaffinity(0, sizeof image.cores, &image.cores);
  if (image.nice != 0) setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + image.nice);
  for (int signal = 1; signal < NSIG; ++signal)
    if (sigismember(&image.back_to_default, signal) == 1) ::signal(signal, SIG_DFL);
  dup2(image.output, STDOUT_FILENO);
  dup2(image.output, STDERR_FILENO);
  execvpe(image.arguments[0], image.arguments.data(), image.variables.data());
  _exit(cannot_start);
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

ChildProcess::ChildProcess(const ChildOptions& options) {
  make_writable_folder(options.log.parent_path());
  const int output = open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (output < 0) fail_system(errno, "{} cannot be written", options.log.string());
  ChildImage image{child_environment(options),
                   pointers_to(options.command),
                   {},
                   core_set(options.slot),
                   !options.slot.cores.empty(),
                   options.nice,
                   output,
                   getpid(),
                   shutdown::ignored_signals()};
  image.variables = pointers_to(image.environment);
  pid_ = fork();
  const int reason = errno;
  if (pid_ == 0) become(image);
  close(output);
  if (pid_ < 0) fail_system(reason, "{} cannot be started", options.command.front());
}

ChildProcess::~ChildProcess() {
  if (poll()) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::optional<int> ChildProcess::poll() {
  int status = 0;
  if (!exit_code_ && waitpid(pid_, &status, WNOHANG) == pid_)
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

void ChildProcess::signal(int number) {
  if (!poll()) kill(pid_, number);
}

std::filesystem::path program_path() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error);
}

}  // namespace spankey
