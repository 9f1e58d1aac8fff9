// Errors that a person reads, those of the operating system among them. Each carries one sentence and the exit code
// that it leads to.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace spankey {

// What the program returns to its caller (section "Exit codes" of README.md).
enum class ExitCode : int { done = 0, bad_input = 2, run_failed = 3, requeue = 75 };

// Thrown for everything that ends a run. `what()` is one line without a trailing newline.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& sentence) : std::runtime_error(sentence), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// Reports a user's mistake. The sentence names the file, the key or the flag, the value, and what would be accepted.
template <class... Args>
[[noreturn]] void fail_input(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ExitCode::bad_input, fmt::format(format, std::forward<Args>(args)...));
}

// Ends a run that cannot go on (disk full, lost rank, non-finite loss).
template <class... Args>
[[noreturn]] void fail_run(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ExitCode::run_failed, fmt::format(format, std::forward<Args>(args)...));
}

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

namespace detail {
[[noreturn]] void check_failed(const char* file, int line, const char* expression, const std::string& values);
}  // namespace detail

}  // namespace spankey

// These check for a programmer's mistake. They throw Error(run_failed) with the place, the expression and (if binary)
// both values.
#define SPANKEY_CHECK(condition)                                                           \
  do {                                                                                     \
    if (!(condition)) ::spankey::detail::check_failed(__FILE__, __LINE__, #condition, ""); \
  } while (false)

#define SPANKEY_CHECK_OP(a, op, b)                                                         \
  do {                                                                                     \
    const auto& spankey_a = (a);                                                           \
    const auto& spankey_b = (b);                                                           \
    if (!(spankey_a op spankey_b))                                                         \
      ::spankey::detail::check_failed(__FILE__, __LINE__, #a " " #op " " #b,               \
                                      fmt::format("{} against {}", spankey_a, spankey_b)); \
  } while (false)

#define SPANKEY_CHECK_EQ(a, b) SPANKEY_CHECK_OP(a, ==, b)
#define SPANKEY_CHECK_NE(a, b) SPANKEY_CHECK_OP(a, !=, b)
#define SPANKEY_CHECK_LT(a, b) SPANKEY_CHECK_OP(a, <, b)
#define SPANKEY_CHECK_LE(a, b) SPANKEY_CHECK_OP(a, <=, b)
#define SPANKEY_CHECK_GE(a, b) SPANKEY_CHECK_OP(a, >=, b)
