#include "base/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <thread>
#include <utility>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/process.h"
#include "base/text.h"

namespace spankey {
namespace {

using Clock = std::chrono::steady_clock;

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
  const auto count = read(from.get(), buffer.data(), buffer.size());
  if (count > 0) text.append(buffer.data(), static_cast<std::size_t>(count));
  if (count == 0 || (count < 0 && errno != EINTR)) from.reset();
}

// Reads until both streams end or the deadline has passed.
void read_both(Descriptor& out, Descriptor& err, ProgramOutcome& outcome, Clock::time_point deadline) {
  while (out.valid() || err.valid()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return;
    std::array<pollfd, 2> ends{{{out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}}};  // poll passes over -1
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
    if (ended == child) return exit_code_of_status(status);
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
  const Descriptor nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!nothing.valid()) fail_system(errno, "/dev/null cannot be read");
  auto out = make_pipe(), err = make_pipe();
  const auto child =
      start_process({.command = command, .input = nothing.get(), .output = out.write.get(), .error = err.write.get()});
  out.write.reset();
  err.write.reset();
  ProgramOutcome outcome;
  read_both(out.read, err.read, outcome, deadline);
  outcome.exit_code = wait_for(child, outcome, deadline);
  return outcome;
}

}  // namespace spankey
