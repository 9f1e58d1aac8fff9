#include "dist/launcher.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>

#include "base/process.h"

namespace spankey {
namespace {

constexpr int milliseconds_to_end = 3000;

// The C library knows these only from glibc 2.34 and kernel headers 5.9 on. An older kernel answers ENOSYS.
constexpr long pidfd_open_call = 434, close_range_call = 436;
constexpr int most_files = 1024;

constexpr std::string_view slurm = "slurmstepd";
constexpr std::array<std::string_view, 9> launchers{"mpirun", "mpiexec", "orterun", "orted",          "prterun",
                                                    "prted",  "prun",    slurm,     "hydra_pmi_proxy"};

}  // namespace

Launcher::Launcher() {
  for (pid_t process = getppid(); process > 1 && process_ == 0;) {
    const auto found = look_up_process(process).value_or(ProcessFacts{});
    if (std::find(launchers.begin(), launchers.end(), found.name) != launchers.end()) {
      process_ = process;
      ours_ = found.name != slurm;
      name_ = fmt::format("{} (process {})", found.name, process);
    }
    process = found.parent;
  }
  if (process_ > 0) end_ = Descriptor(static_cast<int>(syscall(pidfd_open_call, process_, 0)));
}

bool Launcher::is_gone() const {
  if (process_ == 0) return false;
  if (!end_.valid()) return kill(process_, 0) != 0 && errno == ESRCH;
  pollfd ended{end_.get(), POLLIN, 0};
  return poll(&ended, 1, 0) == 1;
}

// Between fork and _exit only functions that a signal handler may call are allowed, because this process has threads.
// The child keeps no file of this one open, or mpirun would take the rank for alive.
void Launcher::must_end() const {
  if (!ours_ || !end_.valid() || fork() != 0) return;
  setsid();
  dup2(end_.get(), 0);
  if (syscall(close_range_call, 1U, ~0U, 0U) != 0)
    for (int file = 1; file < most_files; ++file) close(file);
  pollfd ended{0, POLLIN, 0};
  for (const int signal : {SIGTERM, SIGKILL}) {
    if (poll(&ended, 1, milliseconds_to_end) != 0) break;
    kill(process_, signal);
  }
  _exit(0);
}

}  // namespace spankey
