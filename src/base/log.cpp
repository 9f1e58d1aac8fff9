#include "base/log.h"

#include <fcntl.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string_view>

#include "base/descriptor.h"
#include "base/error.h"

namespace spankey::log {

namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// The level that -q and -v have asked for, here or in the program that has started this one.
spdlog::level::level_enum asked_level(spdlog::level::level_enum usual) {
  const char* level = std::getenv("SPANKEY_LOG");
  const std::string_view word = level != nullptr ? level : "";
  return word == "warning" ? spdlog::level::warn : word == "debug" ? spdlog::level::debug : usual;
}

std::shared_ptr<spdlog::logger> make_logger(const std::string& pattern, spdlog::level::level_enum console_level) {
  auto console = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  // https://no-color.org; the library knows neither this nor that a dumb terminal has no colours.
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  if ((no_color != nullptr && *no_color != '\0') || (terminal != nullptr && std::string_view(terminal) == "dumb"))
    console->set_color_mode(spdlog::color_mode::never);
  console->set_level(console_level);
  console->set_pattern(pattern);
  auto logger = std::make_shared<spdlog::logger>("spankey", std::move(console));
  logger->set_level(spdlog::level::debug);  // the sinks decide
  logger->flush_on(spdlog::level::info);
  return logger;
}

struct State {
  std::mutex mutex;  // guards the pointer and the list of sinks, while sinks have their own locks
  std::shared_ptr<spdlog::logger> logger = make_logger("%^%l%$: %v", asked_level(spdlog::level::info));
  int rank = 0;
};

State& state() {
  // It is never destroyed, because threads may still log while the process ends.
  static State& instance = *new State;
  return instance;
}

}  // namespace

void start(int rank, int world_size, Level console_level) {
  const auto level = asked_level(to_spdlog(console_level));
  const std::string pattern = fmt::format("%H:%M:%S [{}/{}] %^%l%$: %v", rank, world_size);
  const std::lock_guard lock(state().mutex);
  state().rank = rank;
  state().logger = make_logger(pattern, rank == 0 ? level : std::max(level, spdlog::level::warn));
}

void add_file(const std::filesystem::path& folder) {
  const std::lock_guard lock(state().mutex);
  const auto path = folder / fmt::format("rank{}.log", state().rank);
  try {
    auto file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
    file->set_pattern("%Y-%m-%d %H:%M:%S.%e %l: %v");
    // A new logger replaces the old one instead of growing its list, which another thread may be reading.
    auto sinks = state().logger->sinks();
    sinks.push_back(std::move(file));
    auto logger = std::make_shared<spdlog::logger>("spankey", sinks.begin(), sinks.end());
    logger->set_level(spdlog::level::debug);
    logger->flush_on(spdlog::level::info);
    state().logger = std::move(logger);
  } catch (const spdlog::spdlog_ex& error) {
    // The library does not give the reason, so the system is asked again.
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644));
    if (!file.valid()) fail_system(errno, "cannot write the log {}", path.string());
    fail_run("cannot write the log {}: {}", path.string(), error.what());
  }
}

void flush() {
  const std::lock_guard lock(state().mutex);
  state().logger->flush();
}

void write(Level level, const std::string& message) {
  std::shared_ptr<spdlog::logger> logger;
  {
    const std::lock_guard lock(state().mutex);
    logger = state().logger;
  }
  logger->log(to_spdlog(level), spdlog::string_view_t(message));
}

}  // namespace spankey::log
