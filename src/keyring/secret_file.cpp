#include "keyring/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <span>
#include <utility>

#include "base/descriptor.h"
#include "base/error.h"

namespace spankey {

namespace {

struct OpenedFile {
  Descriptor fd;
  std::size_t size = 0;
};

enum class Links { refused, followed };

OpenedFile open_file(const std::filesystem::path& path, std::size_t most_bytes, Links links) {
  // O_NONBLOCK keeps open() from waiting for the writer of a FIFO, which is refused below.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | (links == Links::refused ? O_NOFOLLOW : 0)));
  if (!fd.valid() && errno == ELOOP && links == Links::refused)
    fail_input("cannot read {}: it is a symbolic link, which is not followed to a secret", path.string());
  if (!fd.valid()) fail_system(errno, "cannot read {}", path.string());
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail_system(errno, "cannot read {}", path.string());
  if (!S_ISREG(status.st_mode)) fail_input("cannot read {}: not a regular file", path.string());
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > most_bytes) fail_input("{}: {} bytes; accepted: up to {}", path.string(), size, most_bytes);
  return {std::move(fd), size};
}

void read_into(const Descriptor& fd, std::span<std::byte> rest, const std::filesystem::path& path) {
  while (!rest.empty()) {
    const ssize_t count = ::read(fd.get(), rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_system(errno, "cannot read {}", path.string());
    if (count == 0) fail_input("cannot read {}: it became shorter while being read", path.string());
    rest = rest.subspan(static_cast<std::size_t>(count));
  }
}

std::vector<std::byte> read_open_file(const OpenedFile& file, const std::filesystem::path& path) {
  std::vector<std::byte> content(file.size);
  read_into(file.fd, content, path);
  return content;
}

}  // namespace

SecretBytes read_secret_file(const std::filesystem::path& path, std::size_t most_bytes) {
  const auto file = open_file(path, most_bytes, Links::refused);
  SecretBytes content(file.size);
  read_into(file.fd, content.bytes(), path);
  return content;
}

std::vector<std::byte> read_sealed_file(const std::filesystem::path& path, std::size_t most_bytes) {
  return read_open_file(open_file(path, most_bytes, Links::refused), path);
}

std::vector<std::byte> read_public_file(const std::filesystem::path& path, std::size_t most_bytes) {
  return read_open_file(open_file(path, most_bytes, Links::followed), path);
}

void make_secret_folder(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0) {
    if (errno == EEXIST) fail_input("{} exists already; accepted: the name of a new folder", path.string());
    fail_system(errno, "cannot create folder {}", path.string());
  }
  if (::chmod(path.c_str(), 0700) != 0) fail_system(errno, "cannot create folder {}", path.string());
}

}  // namespace spankey
