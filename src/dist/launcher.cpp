#include "dist/launcher.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <sstream>
#include <string_view>

namespace spankey {
namespace {

constexpr int milliseconds_to_end = 3000;

constexpr std::string_view slurm = "slurmstepd";
constexpr std::array<std::string_view, 9> launchers{"mpirun", "mpiexec", "orterun", "orted",          "prterun",
                                                    "prted",  "prun",    slurm,     "hydra_pmi_proxy"};

struct Process {
  std::string name;
  pid_t parent = 0;
};

// Reads /proc/<pid>/stat, which is "pid (name) state parent ...". The name may hold anything, so the last bracket
// counts.
Process read_process(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string line;
  std::getline(file, line);
  const auto open = line.find('(');
  const auto close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return {};
  Process result{.name = line.substr(open + 1, close - open - 1)};
  std::string state;
  std::istringstream(line.substr(close + 1)) >> state >> result.parent;
  return result;
}

}  // namespace

Launcher::Launcher() {
  for (pid_t process = getppid(); process > 1 && process_ == 0;) {
    const auto found = read_process(process);
    if (std::find(launchers.begin(), launchers.end(), found.name) != launchers.end()) {
      process_ = process;
      ours_ = found.name != slurm;
      name_ = fmt::format("{} (process {})", found.name, process);
    }
    process = found.parent;
  }
  if (process_ > 0) descriptor_ = static_cast<int>(syscall(SYS_pidfd_open, process_, 0));
}

Launcher::~Launcher() {
  if (descriptor_ >= 0) close(descriptor_);
}

bool Launcher::is_gone() const {
  if (process_ == 0) return false;
  if (descriptor_ < 0) return kill(process_, 0) != 0 && errno == ESRCH;
  pollfd ended{descriptor_, POLLIN, 0};
  return poll(&ended, 1, 0) == 1;
}

// Between fork and _exit only functions that a signal handler may call are allowed, because this process has threads.
// The child keeps no file of this one open, or mpirun would take the rank for alive.
void Launcher::must_end() const {
  if (!ours_ || descriptor_ < 0 || fork() != 0) return;
  setsid();
  dup2(descriptor_, 0);
  close_range(1, ~0U, 0);
  pollfd ended{0, POLLIN, 0};
  for (const int signal : {SIGTERM, SIGKILL}) {
    if (poll(&ended, 1, milliseconds_to_end) != 0) break;
    kill(process_, signal);
  }
  _exit(0);
}

}  // namespace spankey
