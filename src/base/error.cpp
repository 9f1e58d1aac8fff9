#include "base/error.h"

namespace spankey::detail {

void check_failed(const char* file, int line, const char* expression, const std::string& values) {
  throw Error(ExitCode::run_failed,
              fmt::format("{}:{}: check failed: {}{}{}", file, line, expression, values.empty() ? "" : ": ", values));
}

}  // namespace spankey::detail
