// Reads files, and writes them so that they survive a crash.
#pragma once

#include <nlohmann/json.hpp>

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

// Writes `path` so that a crash leaves either the old or the new content, never a mixture. It writes `path`.tmp, calls
// fsync, renames, and calls fsync on the folder. A symbolic link stays, and the file that it points to is written.
// Anything else that is not a regular file (a FIFO, a device, a folder) is refused with Error(bad_input). On failure
// the temporary file is removed, the old file stays, and an Error names the path and the reason (exit_code_of() of
// base/error.h says which code). A file system without fsync is mentioned once in the log. `mode` is that of open(2).
// `before_commit` is called when the content is on disk and the rename comes next. If it throws, the old file stays.
void write_durably(const std::filesystem::path& path, std::span<const std::byte> bytes, unsigned mode = 0644,
                   const std::function<void()>& before_commit = {});
void write_durably(const std::filesystem::path& path, std::string_view text, unsigned mode = 0644);

// Does the same for a secret. The mode is 0600 whatever the umask. A symbolic link in its place is refused and never
// followed.
void write_secret_durably(const std::filesystem::path& path, std::span<const std::byte> bytes);

// Reads a whole file. The Error names path and reason. Anything but a regular file is refused, so that nobody waits for
// the other end of a FIFO.
std::vector<std::byte> read_bytes(const std::filesystem::path& path);
std::string read_text(const std::filesystem::path& path);

// Creates the folder and its parents. Throws an Error when the folder cannot be created or written to.
void make_writable_folder(const std::filesystem::path& folder);

// Calls fsync on a folder, so that files and folders that were renamed within it keep their new names after a loss of
// power. A file system without fsync is mentioned once in the log.
void make_renames_durable(const std::filesystem::path& folder);

// Returns the free bytes on the file system that holds `path` (or its nearest existing parent). nullopt where it does
// not report them (some say 0 of 0, some say nothing).
std::optional<std::uint64_t> free_bytes(const std::filesystem::path& path);

// Returns the object that a JSON file holds. Throws Error(bad_input) "PATH: expected JSON, an object" where the file
// holds anything else.
nlohmann::json read_json(const std::filesystem::path& path);

// Does the same for a file that may be damaged or cut short. Returns nullopt where it holds anything else. Throws as
// read_text() does where it cannot be read.
std::optional<nlohmann::json> read_json_if_whole(const std::filesystem::path& path);

}  // namespace spankey
