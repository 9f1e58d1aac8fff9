#include "base/process.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/shutdown.h"

namespace spankey {
namespace {

// The words as exec wants them: closed by a null pointer, good for as long as `words` stays as it is.
std::vector<char*> pointers_to(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const auto& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}
std::vector<char*> pointers_to(std::vector<std::string>&&) = delete;

cpu_set_t set_of(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  return set;
}

// Everything that the child needs. It is made before, since the child may not allocate.
struct ChildImage {
  char** arguments;
  char** variables;
  std::array<int, 3> streams;
  cpu_set_t cores;
  bool pinned, own_group, ends_with_thread;
  int nice;
  pid_t parent;
  sigset_t back_to_default, mask_before;
  volatile int failure = 0;  // errno of the exec; the child writes it
};

// A handler of this process must not run in the child, which shares its memory until the exec.
void forget_handlers(const sigset_t& back_to_default) {
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction now {};
    if (sigaction(signal, nullptr, &now) != 0) continue;
    if (now.sa_handler == SIG_IGN && sigismember(&back_to_default, signal) != 1) continue;
    now = {};
    now.sa_handler = SIG_DFL;
    sigaction(signal, &now, nullptr);
  }
}

// In the child: system calls and nothing else.
[[noreturn]] void become(ChildImage& image) {
  if (image.own_group) setpgid(0, 0);
  if (image.ends_with_thread) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != image.parent) _exit(exit_no_such_program);  // the parent died before it could have killed us
  }
  if (image.pinned) sched_setaffinity(0, sizeof image.cores, &image.cores);
  if (image.nice != 0) setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + image.nice);
  for (int stream = 0; stream < 3; ++stream)
    if (image.streams[static_cast<std::size_t>(stream)] >= 0)
      dup2(image.streams[static_cast<std::size_t>(stream)], stream);
  forget_handlers(image.back_to_default);
  pthread_sigmask(SIG_SETMASK, &image.mask_before, nullptr);
  execvpe(image.arguments[0], image.arguments, image.variables);
  image.failure = errno;
  _exit(exit_no_such_program);
}

// vfork() and not fork(): nothing of a process with gigabytes is copied, nothing that libraries (MPI's network drivers)
// have registered for a fork runs, and the parent, which waits for the exec, finds the errno in its own memory.
[[gnu::noinline]] pid_t split_off(ChildImage& image) {
  const pid_t child = vfork();
  if (child == 0) become(image);
  return child;
}

}  // namespace

pid_t start_process(const ProcessStart& start) {
  auto arguments = pointers_to(start.command);
  std::vector<char*> variables;
  if (start.environment) variables = pointers_to(*start.environment);
  ChildImage image{.arguments = arguments.data(),
                   .variables = start.environment ? variables.data() : environ,
                   .streams = {start.input, start.output, start.error},
                   .cores = set_of(start.cores),
                   .pinned = !start.cores.empty(),
                   .own_group = start.own_group,
                   .ends_with_thread = start.ends_with_thread,
                   .nice = start.nice,
                   .parent = getpid(),
                   .back_to_default = shutdown::ignored_signals(),
                   .mask_before = {}};
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &image.mask_before);
  const pid_t child = split_off(image);
  const int refused = child < 0 ? errno : image.failure;
  pthread_sigmask(SIG_SETMASK, &image.mask_before, nullptr);
  if (refused == 0 || (child > 0 && refused == ENOENT)) return child;
  if (child > 0) waitpid(child, nullptr, 0);
  fail_system(refused, "{} cannot be started", start.command.front());
}

int exit_code_of_status(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// "pid (name) state parent ...". The name may hold anything, so the last bracket counts.
std::optional<ProcessFacts> look_up_process(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string line;
  std::getline(file, line);
  const auto open = line.find('('), close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  ProcessFacts facts{.name = line.substr(open + 1, close - open - 1)};
  std::istringstream fields(line.substr(close + 1));
  fields >> facts.state >> facts.parent;
  constexpr int start_time_field = 22;
  for (int field = 5; field <= start_time_field; ++field) fields >> facts.start_time;
  return facts;
}

std::filesystem::path program_path() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error);
}

std::vector<int> allowed_cores(pid_t process) {
  std::vector<int> cores;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(process, sizeof allowed, &allowed) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  return cores;
}

}  // namespace spankey
