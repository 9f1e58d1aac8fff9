// Errors that a person reads. Each carries one sentence and the exit code that it leads to.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
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
