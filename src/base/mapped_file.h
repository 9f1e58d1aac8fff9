// Read-only mapped files, and whether they are still what was mapped.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/descriptor.h"

namespace spankey {

// A read-only shared mapping of a whole file. Of a page that the file no longer has (it was cut short), or that its
// disk or server cannot give, the kernel tells with SIGBUS: the process then ends at once with exit code 3 and one line
// on stderr that names the file. Other causes of SIGBUS go on to the handler that was there before.
class MappedFile {
 public:
  MappedFile() = default;
  // Error(bad_input) names path and reason.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  enum class State {
    as_mapped,
    changed,   // written to: another size or time of modification
    replaced,  // the path leads to another file, or to none; the mapping still shows the old one, unchanged
  };
  // Asks the file system. Where it does not answer, the file counts as it was.
  State state() const;
  // From here on, as_mapped means as it is now.
  void accept();

 private:
  struct Stamp {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t seconds = 0, nanoseconds = 0;  // of the last modification
    bool operator==(const Stamp&) const = default;
    bool is_file_of(const Stamp& other) const { return device == other.device && inode == other.inode; }
    static Stamp of(const struct stat& status);
  };
  void swap(MappedFile& other) noexcept;

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  Descriptor file_;  // kept: the path may lead elsewhere later
  Stamp stamp_;
};

}  // namespace spankey
