#include "base/text.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace spankey {

std::string duration_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

std::string clock_text(double seconds) {
  const auto s = static_cast<long>(std::lround(std::max(0.0, seconds)));
  return s < 3600 ? fmt::format("{}:{:02d}", s / 60, s % 60)
                  : fmt::format("{}:{:02d}:{:02d}", s / 3600, s / 60 % 60, s % 60);
}

std::string group_thousands(long number) {
  return number < 1000 ? std::to_string(number)
                       : fmt::format("{},{:03d}", group_thousands(number / 1000), number % 1000);
}

std::string last_line_of(const std::string& text) {
  const auto end = text.find_last_not_of(" \t\r\n");
  if (end == std::string::npos) return {};
  const auto begin = text.rfind('\n', end) + 1;  // npos + 1 is 0
  return text.substr(begin, end + 1 - begin);
}

bool redraws_lines(int descriptor) {
  const char* kind = std::getenv("TERM");
  return kind != nullptr && *kind != '\0' && std::string_view(kind) != "dumb" && isatty(descriptor) == 1;
}

}  // namespace spankey
