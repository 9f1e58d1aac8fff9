// Files that survive a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spankey {

// Writes `path` so that after a crash either the old or the new content is there, never a mixture:
// `path`.tmp, fsync, rename, fsync of the folder. A symbolic link stays, and the file that it names is written; what is
// there and no regular file (a FIFO, a device, a folder) is refused with Error(bad_input). On failure the temporary is
// removed, the old file stays, and an Error names the path and the reason (base/system_error.h says which code). A file
// system that knows no fsync is told of once in the log. `mode` as for open(2).
// `before_commit` is called when the content is on disk and about to take its name; where it throws, the old file
// stays.
void write_durably(const std::filesystem::path& path, std::span<const std::byte> bytes, unsigned mode = 0644,
                   const std::function<void()>& before_commit = {});
void write_durably(const std::filesystem::path& path, std::string_view text, unsigned mode = 0644);

// Whole file; the Error names path and reason. What is no regular file is refused; nobody waits for the other end of a
// FIFO.
std::vector<std::byte> read_bytes(const std::filesystem::path& path);
std::string read_text(const std::filesystem::path& path);

// Creates the folder and its parents; an Error when it cannot be created or written to.
void make_writable_folder(const std::filesystem::path& folder);

// Free bytes on the file system that holds `path` (or its nearest existing parent); none where the file system does not
// tell: some say 0 of 0, some nothing.
std::optional<std::uint64_t> free_bytes(const std::filesystem::path& path);

}  // namespace spankey
