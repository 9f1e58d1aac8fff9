#include "faults/injector.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>

// Everything below goes to the kernel by number, never through the functions that it replaces.
namespace spankey::faults {
namespace {

struct State {
  char prefix[PATH_MAX];
  std::size_t prefix_length;
  std::atomic<bool> armed;
  std::atomic<std::int64_t> count, at;
  std::atomic<Action> action;
  std::atomic<unsigned> calls;
  std::atomic<int> stall_seconds;
  int log;
};
State state{};

std::mutex& observer_mutex() {
  static std::mutex& instance = *new std::mutex;  // calls go on while the process ends
  return instance;
}

std::function<void(const Event&)>& observer() {
  static auto& instance = *new std::function<void(const Event&)>;
  return instance;
}

struct Path {
  char text[2 * PATH_MAX] = {};
};

Path of_descriptor(int fd) {
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  Path path;
  if (syscall(SYS_readlinkat, AT_FDCWD, link, path.text, PATH_MAX - 1) < 0) path.text[0] = '\0';
  return path;
}

Path absolute(int folder, const char* name) {
  Path path;
  if (name[0] != '/') {
    if (folder == AT_FDCWD) {
      if (syscall(SYS_getcwd, path.text, PATH_MAX) < 0) path.text[0] = '\0';
    } else {
      path = of_descriptor(folder);
    }
    path.text[std::strlen(path.text)] = '/';  // zeros follow
  }
  std::strncat(path.text, name, sizeof path.text - std::strlen(path.text) - 1);
  return path;
}

bool under_prefix(const Path& path) {
  return std::strncmp(path.text, state.prefix, state.prefix_length) == 0;
}

[[noreturn]] void die() {
  syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
  for (;;) pause();
}

constexpr const char* call_names[] = {"open",   "write",     "fsync", "close", "rename",
                                      "unlink", "ftruncate", "link",  "stat"};

void write_log(std::int64_t number, Call call, const Path& path) {
  if (state.log <= 0) return;
  char line[2 * PATH_MAX + 64];
  const int length = std::snprintf(line, sizeof line, "%lld %s %s\n", static_cast<long long>(number),
                                   call_names[static_cast<unsigned>(call)], path.text);
  if (length > 0) syscall(SYS_write, state.log, line, static_cast<std::size_t>(length));
}

// What becomes of a call.
struct Fate {
  bool counted = false;
  int error = 0;
  bool half = false;  // a write does half of its work
  bool then_die = false;
};

Fate decide(Call call, const Path& path, bool takes_space) {
  if (!state.armed || (state.calls & only(call)) == 0 || !under_prefix(path)) return {};
  const auto number = ++state.count;
  write_log(number, call, path);
  Fate fate{.counted = true};
  const std::int64_t at = state.at;
  if (at == 0 || number < at) return fate;
  const bool first = number == at;
  switch (state.action) {
    case Action::none:
      break;
    case Action::kill:
      if (first) die();
      break;
    case Action::torn:
      fate.half = fate.then_die = first;
      break;
    case Action::no_space:
      fate.half = first && call == Call::write;
      if (takes_space && !fate.half) fate.error = ENOSPC;
      break;
    case Action::io_error_once:
      if (first) fate.error = EIO;
      break;
    case Action::io_error_for_ever:
      fate.error = EIO;
      break;
    case Action::stall:
      if (first) sleep(static_cast<unsigned>(state.stall_seconds));
      break;
  }
  return fate;
}

template <class Number>
Number end(const Fate& fate, Number result) {
  if (fate.then_die) die();
  return result;
}

int failed(int error) {
  errno = error;
  return -1;
}

void tell(const Fate& fate, const Event& event) {
  if (!fate.counted) return;
  const int before = errno;
  const std::lock_guard lock(observer_mutex());
  if (observer()) observer()(event);
  errno = before;
}

struct stat status_of(int fd) {
  struct stat status {};
  if (syscall(SYS_fstat, fd, &status) != 0) status = {};
  return status;
}

bool is_written(int fd) {
  return S_ISREG(status_of(fd).st_mode) && (syscall(SYS_fcntl, fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
}

void lose_half(int fd) {
  if (is_written(fd)) syscall(SYS_ftruncate, fd, status_of(fd).st_size / 2);
}

int open_at(int folder, const char* name, int flags, mode_t mode) {
  const auto path = absolute(folder, name);
  const auto fate = decide(Call::open, path, (flags & O_CREAT) != 0);
  if (fate.error != 0) return failed(fate.error);
  const int fd = static_cast<int>(syscall(SYS_openat, folder, name, flags, mode));
  if (fd >= 0)
    tell(fate, {.call = Call::open,
                .path = path.text,
                .new_path = {},
                .inode = status_of(fd).st_ino,
                .created = (flags & O_CREAT) != 0,
                .bytes = {}});
  return end(fate, fd);
}

// `raw(size)` writes the first `size` bytes at most.
template <class Raw>
ssize_t write_some(int fd, const void* data, std::size_t size, std::int64_t offset, const Raw& raw) {
  if (!state.armed) return raw(size);
  const auto path = of_descriptor(fd);
  const auto fate = decide(Call::write, path, true);
  if (fate.error != 0) return failed(fate.error);
  if (fate.counted && offset < 0) {
    const bool append = (syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND) != 0;
    offset = append ? static_cast<std::int64_t>(status_of(fd).st_size) : syscall(SYS_lseek, fd, 0, SEEK_CUR);
  }
  const ssize_t written = raw(fate.half ? size / 2 : size);
  if (written > 0)
    tell(fate, {.call = Call::write,
                .path = path.text,
                .new_path = {},
                .inode = status_of(fd).st_ino,
                .offset = offset,
                .bytes = {static_cast<const std::byte*>(data), static_cast<std::size_t>(written)}});
  return end(fate, written);
}

int sync_file(int fd, long number) {
  if (!state.armed) return static_cast<int>(syscall(number, fd));
  const auto path = of_descriptor(fd);
  const auto fate = decide(Call::fsync, path, is_written(fd));
  if (fate.error != 0) {
    lose_half(fd);
    return failed(fate.error);
  }
  const int result = static_cast<int>(syscall(number, fd));
  const auto status = status_of(fd);
  if (result == 0)
    tell(fate, {.call = Call::fsync,
                .path = path.text,
                .new_path = {},
                .inode = status.st_ino,
                .folder = S_ISDIR(status.st_mode),
                .bytes = {}});
  return end(fate, result);
}

int rename_at(int old_folder, const char* old_name, int new_folder, const char* new_name, unsigned flags) {
  const auto from = absolute(old_folder, old_name), to = absolute(new_folder, new_name);
  const auto fate = decide(Call::rename, to, true);
  if (fate.error != 0) return failed(fate.error);
  const int result = static_cast<int>(syscall(SYS_renameat2, old_folder, old_name, new_folder, new_name, flags));
  struct stat status {};
  if (result == 0 && syscall(SYS_newfstatat, AT_FDCWD, to.text, &status, 0) == 0)
    tell(fate, {.call = Call::rename, .path = from.text, .new_path = to.text, .inode = status.st_ino, .bytes = {}});
  return end(fate, result);
}

int unlink_at(int folder, const char* name, int flags) {
  const auto path = absolute(folder, name);
  const auto fate = decide(Call::unlink, path, false);
  if (fate.error != 0) return failed(fate.error);
  const int result = static_cast<int>(syscall(SYS_unlinkat, folder, name, flags));
  if (result == 0) tell(fate, {.call = Call::unlink, .path = path.text, .new_path = {}, .bytes = {}});
  return end(fate, result);
}

int truncate_file(int fd, std::int64_t length) {
  const auto fate = decide(Call::ftruncate, of_descriptor(fd), true);
  if (fate.error != 0) return failed(fate.error);
  return end(fate, static_cast<int>(syscall(SYS_ftruncate, fd, length)));
}

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

Action action_named(std::string_view name) {
  if (name == "kill") return Action::kill;
  if (name == "torn") return Action::torn;
  if (name == "enospc") return Action::no_space;
  if (name == "eio") return Action::io_error_once;
  if (name == "eio-forever") return Action::io_error_for_ever;
  if (name == "stall") return Action::stall;
  return Action::none;
}

unsigned calls_named(std::string_view names) {
  if (names.empty()) return all_calls;
  unsigned calls = 0;
  for (unsigned i = 0; i < std::size(call_names); ++i)
    if (names.find(call_names[i]) != std::string_view::npos) calls |= 1U << i;
  return calls;
}

// Before main, where the library was loaded in front of a program.
[[gnu::constructor]] void arm_from_environment() {
  const auto prefix = environment("SPANKEY_FAULT_PREFIX");
  const auto rank = environment("SPANKEY_FAULT_RANK");
  if (prefix.empty() || (!rank.empty() && rank != environment("OMPI_COMM_WORLD_RANK"))) return;
  if (const char* log = std::getenv("SPANKEY_FAULT_LOG"))
    state.log = static_cast<int>(syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const char* at = std::getenv("SPANKEY_FAULT_AT");
  arm({.prefix = std::string(prefix),
       .at = at != nullptr ? std::atoll(at) : 0,
       .action = action_named(environment("SPANKEY_FAULT_ACTION")),
       .calls = calls_named(environment("SPANKEY_FAULT_CALLS")),
       .stall_seconds = std::atoi(std::string(environment("SPANKEY_FAULT_SECONDS")).c_str())});
}

}  // namespace

void arm(const Plan& plan) {
  state.prefix_length = plan.prefix.copy(state.prefix, sizeof state.prefix - 1);
  state.count = 0;
  state.at = plan.at;
  state.action = plan.action;
  state.calls = plan.calls;
  state.stall_seconds = plan.stall_seconds;
  state.armed = true;
}

std::int64_t disarm() {
  state.armed = false;
  return state.count;
}

void observe(std::function<void(const Event&)> new_observer) {
  const std::lock_guard lock(observer_mutex());
  observer() = std::move(new_observer);
}

}  // namespace spankey::faults

namespace faults = spankey::faults;

namespace {

bool creates(int flags) {
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

}  // namespace

// NOLINTBEGIN(cert-dcl50-cpp): the C library's own signatures
extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = creates(flags) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return faults::open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = creates(flags) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return faults::open_at(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = creates(flags) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return faults::open_at(folder, path, flags, mode);
}

int openat64(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = creates(flags) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return faults::open_at(folder, path, flags, mode);
}

ssize_t write(int fd, const void* data, size_t size) {
  return faults::write_some(fd, data, size, -1, [&](std::size_t n) { return syscall(SYS_write, fd, data, n); });
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  return faults::write_some(fd, data, size, offset,
                            [&](std::size_t n) { return syscall(SYS_pwrite64, fd, data, n, offset); });
}

ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  return pwrite(fd, data, size, offset);
}

// As one write of its first piece: the caller has to go on anyway.
ssize_t writev(int fd, const iovec* pieces, int count) {
  if (!faults::state.armed) return syscall(SYS_writev, fd, pieces, count);
  for (int i = 0; i < count; ++i)
    if (pieces[i].iov_len > 0) return write(fd, pieces[i].iov_base, pieces[i].iov_len);
  return 0;
}

int fsync(int fd) {
  return faults::sync_file(fd, SYS_fsync);
}

int fdatasync(int fd) {
  return faults::sync_file(fd, SYS_fdatasync);
}

int close(int fd) {
  if (!faults::state.armed) return static_cast<int>(syscall(SYS_close, fd));
  const auto fate = faults::decide(faults::Call::close, faults::of_descriptor(fd), faults::is_written(fd));
  if (fate.error != 0) faults::lose_half(fd);
  const int result = static_cast<int>(syscall(SYS_close, fd));
  return faults::end(fate, fate.error != 0 ? faults::failed(fate.error) : result);
}

int rename(const char* old_name, const char* new_name) noexcept {
  return faults::rename_at(AT_FDCWD, old_name, AT_FDCWD, new_name, 0);
}

int renameat(int old_folder, const char* old_name, int new_folder, const char* new_name) noexcept {
  return faults::rename_at(old_folder, old_name, new_folder, new_name, 0);
}

int unlink(const char* path) noexcept {
  return faults::unlink_at(AT_FDCWD, path, 0);
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  return faults::unlink_at(folder, path, flags);
}

int remove(const char* path) noexcept {
  const int result = faults::unlink_at(AT_FDCWD, path, 0);
  return result != 0 && errno == EISDIR ? static_cast<int>(syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR))
                                        : result;
}

int ftruncate(int fd, off_t length) noexcept {
  return faults::truncate_file(fd, length);
}

int ftruncate64(int fd, off64_t length) noexcept {
  return faults::truncate_file(fd, length);
}

int stat(const char* path, struct stat* status) noexcept {
  const auto fate = faults::decide(faults::Call::stat, faults::absolute(AT_FDCWD, path), false);
  if (fate.error != 0) return faults::failed(fate.error);
  return faults::end(fate, static_cast<int>(syscall(SYS_newfstatat, AT_FDCWD, path, status, 0)));
}

int link(const char* old_name, const char* new_name) noexcept {
  const auto fate = faults::decide(faults::Call::link, faults::absolute(AT_FDCWD, new_name), true);
  if (fate.error != 0) return faults::failed(fate.error);
  return faults::end(fate, static_cast<int>(syscall(SYS_linkat, AT_FDCWD, old_name, AT_FDCWD, new_name, 0)));
}

}  // extern "C"
// NOLINTEND(cert-dcl50-cpp)
