// Logging to a console sink that shows the rank and the time, and to a file per rank in the run directory. Only log.cpp
// includes spdlog.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <utility>

namespace spankey::log {

enum class Level { debug, info, warning, error };

// Call this once per process. Messages before it go to stderr without a rank. Only rank 0 prints info to the console,
// and every rank prints warnings and errors.
void start(int rank, int world_size, Level console_level = Level::info);

// Also appends to `<folder>/rank<rank>.log` from now on.
void add_file(const std::filesystem::path& folder);

// Flushes buffered output. Call it before an exit that runs no destructors.
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
