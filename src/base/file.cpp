#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace spankey {

namespace {

std::string reason(int error) {
  return std::generic_category().message(error);
}

// Owns a file descriptor; `close()` reports what the destructor would have to swallow.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

bool sync_folder(const std::filesystem::path& folder) {
  const Descriptor fd(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd.valid() && ::fsync(fd.get()) == 0;
}

Descriptor open_to_read(const std::filesystem::path& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) fail_input("cannot read {}: {}", path.string(), reason(errno));
  return fd;
}

std::size_t file_size(const Descriptor& fd, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail_input("cannot read {}: {}", path.string(), reason(errno));
  if (!S_ISREG(status.st_mode)) fail_input("cannot read {}: not a regular file", path.string());
  return static_cast<std::size_t>(status.st_size);
}

void read_all(const Descriptor& fd, std::span<std::byte> out, const std::filesystem::path& path) {
  while (!out.empty()) {
    const ssize_t count = ::read(fd.get(), out.data(), out.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_input("cannot read {}: {}", path.string(), reason(errno));
    if (count == 0) fail_input("cannot read {}: it became shorter while being read", path.string());
    out = out.subspan(static_cast<std::size_t>(count));
  }
}

}  // namespace

void write_durably(const std::filesystem::path& path, std::span<const std::byte> bytes, unsigned mode,
                   const std::function<void()>& before_commit) {
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  const auto give_up = [&](const char* what) {
    const int error = errno;
    ::unlink(temporary.c_str());
    fail_run("cannot write {}: {}: {}", path.string(), what, reason(error));
  };
  // A temporary left by a crash may have another mode; a fresh one has the mode asked for.
  ::unlink(temporary.c_str());
  Descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, static_cast<mode_t>(mode)));
  if (!fd.valid()) give_up("create");
  if (!write_all(fd.get(), bytes)) give_up("write");
  if (::fsync(fd.get()) != 0) give_up("fsync");
  if (!fd.close()) give_up("close");
  try {
    if (before_commit) before_commit();
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) give_up("rename");
  if (!sync_folder(path.parent_path())) give_up("fsync of the folder");
}

void write_durably(const std::filesystem::path& path, std::string_view text, unsigned mode) {
  write_durably(path, std::as_bytes(std::span(text)), mode);
}

std::vector<std::byte> read_bytes(const std::filesystem::path& path) {
  const Descriptor fd = open_to_read(path);
  std::vector<std::byte> bytes(file_size(fd, path));
  read_all(fd, bytes, path);
  return bytes;
}

std::string read_text(const std::filesystem::path& path) {
  const Descriptor fd = open_to_read(path);
  std::string text(file_size(fd, path), '\0');
  read_all(fd, std::as_writable_bytes(std::span(text)), path);
  return text;
}

void make_writable_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail_input("cannot create folder {}: {}", folder.string(), error.message());
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    fail_input("cannot write to folder {}: {}", folder.string(), reason(errno));
  }
}

std::uint64_t free_bytes(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path existing = std::filesystem::absolute(path);
  while (!std::filesystem::exists(existing, error) && existing.has_relative_path()) existing = existing.parent_path();
  struct statvfs status {};
  if (::statvfs(existing.c_str(), &status) != 0) {
    fail_run("cannot ask for the free space of {}: {}", existing.string(), reason(errno));
  }
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

}  // namespace spankey
