// Read-only memory-mapped files, with a check whether a file has changed since it was mapped.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/descriptor.h"

namespace spankey {

// A read-only shared mapping of a whole file. The kernel sends SIGBUS for a page that the file no longer has (it was
// cut short), or that its disk or server cannot deliver. The process then ends at once with exit code 3 and one line on
// stderr that names the file. A SIGBUS with another cause goes to the handler that was there before.
class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error(bad_input) with path and reason.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  enum class State {
    as_mapped,
    changed,   // its size or its time of modification has changed
    replaced,  // the path names another file or none, while the mapping still shows the old one unchanged
  };
  // Asks the file system. If it does not answer, the file counts as unchanged.
  State state() const;
  // Takes the file's present state as the new reference for state().
  void accept();

 private:
  struct Stamp {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t seconds = 0, nanoseconds = 0;  // time of the last modification
    bool operator==(const Stamp&) const = default;
    bool is_file_of(const Stamp& other) const { return device == other.device && inode == other.inode; }
    static Stamp of(const struct stat& status);
  };
  void swap(MappedFile& other) noexcept;

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  Descriptor file_;  // kept open, because the path may name another file later
  Stamp stamp_;
};

}  // namespace spankey
