// What the main functions of the benchmarks share.
#pragma once

#include <fmt/format.h>
#include <malloc.h>

#include <chrono>
#include <climits>
#include <cstdio>
#include <exception>
#include <functional>

#include "base/error.h"

namespace spankey {

// Keeps large blocks with the process once they were freed, as the program itself does, so that no side of a comparison
// pays for fresh pages.
inline void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
}

// Returns the milliseconds that `work` takes.
inline double milliseconds(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

// Runs `work` and returns an exit code. An error is printed as one line, and its code is that with which the program
// itself would end.
inline int exit_code_of(const char* name, const std::function<void()>& work) {
  try {
    work();
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
    return static_cast<int>(ExitCode::run_failed);
  }
}

}  // namespace spankey
