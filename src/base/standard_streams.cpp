#include "base/standard_streams.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/log.h"

namespace spankey::standard_streams {
namespace {

std::atomic<int> first_failure{0};  // errno
std::atomic<bool> told_of_reader{false};
bool was_terminal = false;

// Blocks as a blocking write does, even if another process that shares the stream has made it non-blocking.
bool write_or_wait(const char* text, std::size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(STDOUT_FILENO, text, size);
    if (written >= 0) {
      text += written;
      size -= static_cast<std::size_t>(written);
    } else if (errno == EAGAIN) {
      pollfd room{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&room, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

// The writer for fopencookie(). It always returns the size, so that the stream itself never has an error.
ssize_t write_output(void*, const char* text, std::size_t size) {
  const auto all = static_cast<ssize_t>(size);
  if (write_or_wait(text, size)) return all;
  const int error = errno;
  // A terminal that hangs up answers with EIO.
  if (error == EPIPE || (error == EIO && was_terminal)) {
    if (!told_of_reader.exchange(true))
      log::debug("nobody reads standard output any more ({}): what is printed there is lost", system_reason(error));
    return all;
  }
  int none = 0;
  if (first_failure.compare_exchange_strong(none, error))
    log::debug("standard output cannot be written: {}", system_reason(error));
  return all;
}

}  // namespace

void take_over() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) < 0 && errno == EBADF) static_cast<void>(::open("/dev/null", O_RDWR));
  was_terminal = ::isatty(STDOUT_FILENO) == 1;
  cookie_io_functions_t functions{};
  functions.write = write_output;
  FILE* taken = ::fopencookie(nullptr, "w", functions);
  if (taken == nullptr) return;  // without memory the old one does
  static_cast<void>(std::setvbuf(taken, nullptr, was_terminal ? _IOLBF : _IOFBF, BUFSIZ));
  stdout = taken;
}

int flush_output() {
  static_cast<void>(std::fflush(stdout));
  return first_failure;
}

bool are_quiet() {
  const char* level = std::getenv("SPANKEY_LOG");
  return level != nullptr && std::string_view(level) == "warning";
}

void complain(const std::string& line) {
  static_cast<void>(std::fputs((line + "\n").c_str(), stderr));
}

}  // namespace spankey::standard_streams
