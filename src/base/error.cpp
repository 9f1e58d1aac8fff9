#include "base/error.h"

#include <cerrno>

namespace spankey {

ExitCode exit_code_of(int error) {
  switch (error) {
    case ENOENT:
    case EACCES:
    case EPERM:
    case ENOTDIR:
    case EISDIR:
    case EEXIST:
    case ENOTEMPTY:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV:
    case EINVAL:
      return ExitCode::bad_input;
    default:
      return ExitCode::run_failed;
  }
}

std::string system_reason(int error) {
  return std::generic_category().message(error);
}

void throw_system_error(int error, const std::string& what) {
  throw Error(exit_code_of(error), what + ": " + system_reason(error));
}

namespace detail {

void check_failed(const char* file, int line, const char* expression, const std::string& values) {
  throw Error(ExitCode::run_failed,
              fmt::format("{}:{}: check failed: {}{}{}", file, line, expression, values.empty() ? "" : ": ", values));
}

}  // namespace detail
}  // namespace spankey
