// Files that survive a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spankey {

// Writes `path` so that after a crash either the old or the new content is there, never a mixture:
// `path`.tmp, fsync, rename, fsync of the folder. On failure the temporary is removed, the old file stays,
// and Error(run_failed) names the path and the reason (disk full, read-only, ...). `mode` as for open(2).
// `before_commit` is called when the content is on disk and about to take its name; where it throws, the old file
// stays.
void write_durably(const std::filesystem::path& path, std::span<const std::byte> bytes, unsigned mode = 0644,
                   const std::function<void()>& before_commit = {});
void write_durably(const std::filesystem::path& path, std::string_view text, unsigned mode = 0644);

// Whole file; Error(bad_input) names path and reason.
std::vector<std::byte> read_bytes(const std::filesystem::path& path);
std::string read_text(const std::filesystem::path& path);

// Creates the folder and its parents, Error(bad_input) when it cannot be created or written to.
void make_writable_folder(const std::filesystem::path& folder);

// Free bytes on the file system that holds `path` (or its nearest existing parent).
std::uint64_t free_bytes(const std::filesystem::path& path);

}  // namespace spankey
