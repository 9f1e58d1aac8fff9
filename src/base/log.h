// Logging: a console sink that shows the rank and the time, and a file per rank in the run directory.
// spdlog stays behind log.cpp.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <utility>

namespace spankey::log {

enum class Level { debug, info, warning, error };

// Call once per process; before it, messages go to stderr without a rank. Rank 0 alone prints info to the
// console; warnings and errors come from every rank.
void start(int rank, int world_size, Level console_level = Level::info);

// Adds `<folder>/rank<rank>.log`, appended to.
void add_file(const std::filesystem::path& folder);

// Writes out what is buffered; called before an exit that runs no destructors.
void flush();

void write(Level level, const std::string& message);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace spankey::log
