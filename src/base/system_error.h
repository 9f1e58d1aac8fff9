// Errors of the operating system, and whether the machine or the user is responsible.
#pragma once

#include <fmt/format.h>

#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace spankey {

// Returns run_failed where the machine or its file system is responsible and another attempt may work. These are no
// space, no quota, an I/O error, a mount that is lost or read-only, no memory, too many files or processes, a time-out,
// and a limit of the file size. Returns bad_input where the caller named something missing, forbidden, not a folder or
// with too long a name.
ExitCode exit_code_of(int error);

// The system's text, such as "No space left on device".
std::string system_reason(int error);

// Throws an Error with that code and the text "WHAT: reason".
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
