#include "cli/terminal/screen.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/text.h"

namespace spankey::cli {
namespace {

constexpr std::size_t any_width = 1000;

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

std::size_t number_in(const char* variable) {
  const char* value = std::getenv(variable);
  const long number = value != nullptr ? std::strtol(value, nullptr, 10) : 0;
  return number > 0 && number <= 10'000 ? static_cast<std::size_t>(number) : 0;
}

}  // namespace

Screen::Screen() : redraws_(redraws_lines(STDOUT_FILENO)) {}

bool Screen::has_colours() const {
  return redraws_ && !is_set("NO_COLOR");
}

// A line as wide as the terminal makes some terminals begin another one.
ScreenSize Screen::size() const {
  const auto columns = number_in("COLUMNS");
  if (!redraws_) return {columns > 0 ? columns : any_width, 0};
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  const std::size_t width = known ? size.ws_col : columns > 0 ? columns : 80;
  const std::size_t height = known && size.ws_row > 0 ? size.ws_row : 24;
  return {std::max<std::size_t>(width, 2) - 1, std::max<std::size_t>(height, 2) - 1};
}

bool Screen::draw(const std::string& text, ScreenSize size) {
  std::string out;
  if (!redraws_) {
    out = text;
  } else {
    // A terminal that has become narrower has broken the lines anew, so their number is unknown.
    if (drawn_lines_ > 0) out = size == drawn_size_ ? fmt::format("\033[{}A\r", drawn_lines_) : "\033[H\033[2J";
    for (const char c : text) out += c == '\n' ? std::string("\033[K\n") : std::string(1, c);
    out += "\033[J";
    drawn_size_ = size;
    drawn_lines_ = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  std::fputs(out.c_str(), stdout);
  return std::fflush(stdout) == 0;
}

bool speaks_utf8() {
  for (const char* variable : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    if (!is_set(variable)) continue;
    std::string name = std::getenv(variable);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    return name.find("utf-8") != std::string::npos || name.find("utf8") != std::string::npos;
  }
  return false;
}

}  // namespace spankey::cli
