// What the operating system refuses, and whose fault that is.
#pragma once

#include <fmt/format.h>

#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace spankey {

// run_failed for what is the machine's or its file system's fault and may work elsewhere or later: no space, no quota,
// an I/O error, a mount that is lost or went read-only, no memory, too many files or processes, a time-out, a limit of
// the file size. bad_input for what the caller has named: missing, not allowed, not a folder, a name too long.
ExitCode exit_code_of(int error);

// "No space left on device"
std::string system_reason(int error);

// Error of that class: "WHAT: reason".
[[noreturn]] void throw_system_error(int error, const std::string& what);

// `error` is an errno.
template <class... Args>
[[noreturn]] void fail_system(int error, fmt::format_string<Args...> what, Args&&... args) {
  throw_system_error(error, fmt::format(what, std::forward<Args>(args)...));
}
template <class... Args>
[[noreturn]] void fail_system(const std::error_code& error, fmt::format_string<Args...> what, Args&&... args) {
  throw_system_error(error.value(), fmt::format(what, std::forward<Args>(args)...));
}

}  // namespace spankey
