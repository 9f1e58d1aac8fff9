#include "keyring/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"

namespace spankey {

SecretBytes read_secret_file(const std::filesystem::path& path, std::size_t most_bytes) {
  // O_NONBLOCK keeps open() from waiting for the writer of a FIFO, which is refused below.
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  if (!fd.valid() && errno == ELOOP)
    fail_input("cannot read {}: it is a symbolic link, which is not followed to a secret", path.string());
  if (!fd.valid()) fail_system(errno, "cannot read {}", path.string());
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail_system(errno, "cannot read {}", path.string());
  if (!S_ISREG(status.st_mode)) fail_input("cannot read {}: not a regular file", path.string());
  if (static_cast<std::uint64_t>(status.st_size) > most_bytes)
    fail_input("{}: {} bytes; accepted: up to {}", path.string(), status.st_size, most_bytes);
  SecretBytes content(static_cast<std::size_t>(status.st_size));
  for (auto rest = content.bytes(); !rest.empty();) {
    const ssize_t count = ::read(fd.get(), rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_system(errno, "cannot read {}", path.string());
    if (count == 0) fail_input("cannot read {}: it became shorter while being read", path.string());
    rest = rest.subspan(static_cast<std::size_t>(count));
  }
  return content;
}

void make_secret_folder(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0) {
    if (errno == EEXIST) fail_input("{} exists already; accepted: the name of a new folder", path.string());
    fail_system(errno, "cannot create folder {}", path.string());
  }
  if (::chmod(path.c_str(), 0700) != 0) fail_system(errno, "cannot create folder {}", path.string());
}

}  // namespace spankey
