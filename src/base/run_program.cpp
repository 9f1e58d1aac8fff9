#include "base/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <thread>
#include <utility>

#include "base/shutdown.h"
#include "base/system_error.h"

namespace spankey {
namespace {

using Clock = std::chrono::steady_clock;

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  int number() const { return number_; }
  void reset() {
    if (number_ >= 0) close(std::exchange(number_, -1));
  }

 private:
  int number_;
};

struct Pipe {
  Descriptor read, write;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) fail_system(errno, "no pipe to a program");
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

// Appends what can be read and closes the descriptor at the end of the stream.
void read_some(Descriptor& from, std::string& text) {
  std::array<char, 4096> buffer{};
  const auto count = read(from.number(), buffer.data(), buffer.size());
  if (count > 0) text.append(buffer.data(), static_cast<std::size_t>(count));
  if (count == 0 || (count < 0 && errno != EINTR)) from.reset();
}

// Reads until both streams end or the deadline has passed.
void read_both(Descriptor& out, Descriptor& err, ProgramOutcome& outcome, Clock::time_point deadline) {
  while (out.number() >= 0 || err.number() >= 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return;
    std::array<pollfd, 2> ends{{{out.number(), POLLIN, 0}, {err.number(), POLLIN, 0}}};  // poll passes over -1
    if (poll(ends.data(), ends.size(), static_cast<int>(std::min<std::int64_t>(left, 60'000))) <= 0) continue;
    if (ends[0].revents != 0) read_some(out, outcome.out);
    if (ends[1].revents != 0) read_some(err, outcome.err);
  }
}

// Its exit code. The program may have closed its streams and still run, so this waits until the deadline.
int wait_for(pid_t child, ProgramOutcome& outcome, Clock::time_point deadline) {
  int status = 0;
  while (true) {
    const auto ended = waitpid(child, &status, WNOHANG);
    if (ended == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (ended < 0 && errno != EINTR) fail_system(errno, "waiting for a program");
    if (Clock::now() >= deadline && !std::exchange(outcome.timed_out, true)) kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

std::string ProgramOutcome::complaint() const {
  return last_line_of(err);
}

ProgramOutcome run_program(const std::vector<std::string>& command, std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  auto out = make_pipe(), err = make_pipe();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.write.number(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.write.number(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  const auto back_to_default = shutdown::ignored_signals();
  posix_spawnattr_setsigdefault(&attributes, &back_to_default);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  const auto arguments = pointers_to(command);
  pid_t child = -1;
  const int refused = posix_spawnp(&child, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  ProgramOutcome outcome;
  if (refused == ENOENT) return outcome;
  if (refused != 0) fail_system(refused, "{} cannot be started", command.front());
  out.write.reset();
  err.write.reset();
  read_both(out.read, err.read, outcome, deadline);
  outcome.exit_code = wait_for(child, outcome, deadline);
  return outcome;
}

std::vector<char*> pointers_to(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const auto& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::string last_line_of(const std::string& text) {
  const auto end = text.find_last_not_of(" \t\r\n");
  if (end == std::string::npos) return {};
  const auto begin = text.rfind('\n', end) + 1;  // npos + 1 is 0
  return text.substr(begin, end + 1 - begin);
}

}  // namespace spankey
