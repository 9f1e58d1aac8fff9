#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace spankey {
namespace {

// The data of the SIGBUS handler, in memory that never moves. A process maps few files at a time. The handler cannot
// name further mappings.
struct Watched {
  std::atomic<std::uintptr_t> begin{0}, size{0};
  std::array<char, 512> name{};
};
std::array<Watched, 16> watched;
std::mutex watching;
struct sigaction handler_before;

void say(std::string_view text) {
  // The process ends whether this line is written or not.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

// Calls nothing but what a signal handler may call.
void on_bus_error(int, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const Watched& file : watched) {
    if (address - file.begin.load() >= file.size.load()) continue;
    say("\nerror: ");
    say({file.name.data(), strnlen(file.name.data(), file.name.size())});
    say(" cannot be read any more: it was cut short while it was in use, or its disk or server failed (SIGBUS)\n");
    ::_exit(static_cast<int>(ExitCode::run_failed));
  }
  ::sigaction(SIGBUS, &handler_before, nullptr);  // returning repeats the fault under that handler
  if (info->si_code <= 0) ::raise(SIGBUS);        // but does not repeat a signal sent by a process
}

void watch(const std::byte* data, std::size_t size, const std::string& name) {
  const std::lock_guard lock(watching);
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    return ::sigaction(SIGBUS, &action, &handler_before) == 0;
  }();
  if (!installed) return;
  for (Watched& file : watched) {
    if (file.size.load() != 0) continue;
    file.name = {};
    name.copy(file.name.data(), file.name.size() - 1);
    file.begin = reinterpret_cast<std::uintptr_t>(data);
    file.size = size;
    return;
  }
}

void forget(const std::byte* data) {
  const std::lock_guard lock(watching);
  for (Watched& file : watched)
    if (file.begin.load() == reinterpret_cast<std::uintptr_t>(data)) file.size = 0;
}

}  // namespace

MappedFile::Stamp MappedFile::Stamp::of(const struct stat& status) {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .size = static_cast<std::uint64_t>(status.st_size),
          .seconds = status.st_mtim.tv_sec,
          .nanoseconds = status.st_mtim.tv_nsec};
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const auto fail = [&](const char* what) { fail_system(errno, "cannot {} {}", what, path.string()); };
  file_ = Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO is refused, not waited for
  if (!file_.valid()) fail("read");
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) fail("read");
  if (!S_ISREG(status.st_mode)) fail_input("cannot read {}: not a regular file", path.string());
  stamp_ = Stamp::of(status);
  if (stamp_.size == 0) return;  // mmap refuses an empty range
  void* address = ::mmap(nullptr, stamp_.size, PROT_READ, MAP_SHARED, file_.get(), 0);
  if (address == MAP_FAILED) fail("map");
  data_ = static_cast<const std::byte*>(address);
  size_ = stamp_.size;
  watch(data_, size_, path.string());
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  forget(data_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::State MappedFile::state() const {
  struct stat mapped {
  }, named{};
  if (!file_.valid() || ::fstat(file_.get(), &mapped) != 0) return State::as_mapped;
  if (Stamp::of(mapped) != stamp_) return State::changed;
  if (::stat(path_.c_str(), &named) != 0) return errno == ENOENT ? State::replaced : State::as_mapped;
  return Stamp::of(named).is_file_of(stamp_) ? State::as_mapped : State::replaced;
}

void MappedFile::accept() {
  struct stat status {};
  if (file_.valid() && ::fstat(file_.get(), &status) == 0) stamp_ = Stamp::of(status);
}

void MappedFile::swap(MappedFile& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(file_, other.file_);
  std::swap(stamp_, other.stamp_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept {
  swap(other);
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  swap(other);
  return *this;
}

}  // namespace spankey
