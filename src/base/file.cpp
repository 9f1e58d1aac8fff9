#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/log.h"

namespace spankey {

namespace {

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

// Some file systems (FUSE, SMB, vendors' own) have no fsync for folders or for anything. The content is written all the
// same and is at risk only in a loss of power, which is no reason to refuse such a file system.
bool has_no_fsync(int error) {
  return error == EINVAL || error == ENOTSUP || error == ENOSYS || error == EBADF || error == ENOTTY;
}

void tell_of_no_fsync(const std::filesystem::path& path, const char* what, int error) {
  static std::atomic<bool> told{false};
  if (told.exchange(true)) return;
  log::warning("{}: the file system has no fsync for {} ({}): a loss of power may lose what was written last",
               path.string(), what, system_reason(error));
}

// False with errno where the file system failed.
bool sync_file(int fd, const std::filesystem::path& path) {
  if (::fsync(fd) == 0) return true;
  if (!has_no_fsync(errno)) return false;
  tell_of_no_fsync(path, "files", errno);
  return true;
}

bool sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path name = folder.empty() ? "." : folder;
  const Descriptor fd(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid() && ::fsync(fd.get()) == 0) return true;
  // A folder may let its files be written and itself not be read.
  if (!has_no_fsync(errno) && (fd.valid() || errno != EACCES)) return false;
  tell_of_no_fsync(name, "folders", errno);
  return true;
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISLNK(mode)) return "a symbolic link";
  if (S_ISFIFO(mode)) return "a FIFO or pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

constexpr const char* accepted_target = "accepted: the name of a regular file, or of none";

// The file that is written. Where `path` is a symbolic link, it is what the link finally names, whether that exists or
// not.
std::filesystem::path file_named_by(const std::filesystem::path& path) {
  constexpr int most_links = 40;  // as the kernel follows
  auto target = path;
  for (int links = 0; links <= most_links; ++links) {
    struct stat status {};
    if (::lstat(target.c_str(), &status) != 0) {
      if (errno == ENOENT) return target;
      fail_system(errno, "cannot write {}", path.string());
    }
    if (S_ISREG(status.st_mode)) return target;
    if (!S_ISLNK(status.st_mode))
      fail_input("cannot write {}: it is {}; {}", path.string(), kind_of(status.st_mode), accepted_target);
    // A link of /proc stands for something open, whose name may be anybody's.
    if (target.string().starts_with("/proc/"))
      fail_input("cannot write {}: it is a stream of this process; {}", path.string(), accepted_target);
    target = target.parent_path() / std::filesystem::read_symlink(target);
  }
  fail_system(ELOOP, "cannot write {}", path.string());
}

// O_NONBLOCK keeps open() from waiting for the writer of a FIFO, which is refused later.
Descriptor open_to_read(const std::filesystem::path& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) fail_system(errno, "cannot read {}", path.string());
  return fd;
}

std::size_t file_size(const Descriptor& fd, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail_system(errno, "cannot read {}", path.string());
  if (!S_ISREG(status.st_mode)) fail_input("cannot read {}: not a regular file", path.string());
  return static_cast<std::size_t>(status.st_size);
}

void read_all(const Descriptor& fd, std::span<std::byte> out, const std::filesystem::path& path) {
  while (!out.empty()) {
    const ssize_t count = ::read(fd.get(), out.data(), out.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_system(errno, "cannot read {}", path.string());
    if (count == 0) fail_input("cannot read {}: it became shorter while being read", path.string());
    out = out.subspan(static_cast<std::size_t>(count));
  }
}

// Replaces `target` by a file of these bytes. `path` is what the user has called it. The mode of a file of which
// `exactly` is said does not depend on the umask.
void replace(const std::filesystem::path& target, const std::filesystem::path& path, std::span<const std::byte> bytes,
             mode_t mode, bool exactly, const std::function<void()>& before_commit) {
  std::filesystem::path temporary = target;
  temporary += ".tmp";
  const auto give_up = [&](const char* what) {
    const int error = errno;
    ::unlink(temporary.c_str());
    fail_system(error, "cannot write {}: {}", path.string(), what);
  };
  // A temporary file left by a crash may have another mode, so a fresh one is made with the mode asked for.
  ::unlink(temporary.c_str());
  Descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd.valid()) give_up("create");
  if (exactly && ::fchmod(fd.get(), mode) != 0) give_up("change of mode");
  if (!write_all(fd.get(), bytes)) give_up("write");
  if (!sync_file(fd.get(), temporary)) give_up("fsync");
  if (!fd.close()) give_up("close");
  try {
    if (before_commit) before_commit();
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  if (::rename(temporary.c_str(), target.c_str()) != 0) give_up("rename");
  if (!sync_folder(target.parent_path())) give_up("fsync of the folder");
}

}  // namespace

void write_durably(const std::filesystem::path& path, std::span<const std::byte> bytes, unsigned mode,
                   const std::function<void()>& before_commit) {
  replace(file_named_by(path), path, bytes, static_cast<mode_t>(mode), /*exactly=*/false, before_commit);
}

void write_secret_durably(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
    fail_input("cannot write {}: it is {}; {}", path.string(), kind_of(status.st_mode), accepted_target);
  // The rename replaces whatever stands there by then and follows no link.
  replace(path, path, bytes, 0600, /*exactly=*/true, {});
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
  if (error) fail_system(error, "cannot create folder {}", folder.string());
  if (::access(folder.c_str(), W_OK | X_OK) != 0) fail_system(errno, "cannot write to folder {}", folder.string());
}

void make_renames_durable(const std::filesystem::path& folder) {
  if (!sync_folder(folder)) fail_system(errno, "{}: fsync of the folder", folder.string());
}

std::optional<std::uint64_t> free_bytes(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path existing = std::filesystem::absolute(path);
  while (!std::filesystem::exists(existing, error) && existing.has_relative_path()) existing = existing.parent_path();
  struct statvfs status {};
  if (::statvfs(existing.c_str(), &status) != 0 || status.f_blocks == 0) return std::nullopt;
  return static_cast<std::uint64_t>(status.f_bavail) * (status.f_frsize != 0 ? status.f_frsize : status.f_bsize);
}

nlohmann::json read_json(const std::filesystem::path& path) {
  auto json = read_json_if_whole(path);
  if (!json) fail_input("{}: expected JSON, an object", path.string());
  return *std::move(json);
}

std::optional<nlohmann::json> read_json_if_whole(const std::filesystem::path& path) {
  auto json = nlohmann::json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? std::optional(std::move(json)) : std::nullopt;
}

}  // namespace spankey
