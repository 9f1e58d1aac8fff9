// What the main functions of the benchmarks have in common.
#pragma once

#include <fmt/format.h>
#include <malloc.h>

#include <climits>
#include <cstdio>
#include <exception>
#include <functional>

#include "base/error.h"

namespace spankey {

// Large blocks stay with the process once they were freed, as in the program itself: no side of a comparison pays for
// fresh pages.
inline void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
}

// Runs `work` and returns an exit code: an error is one line and the code that the program itself would end with.
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
