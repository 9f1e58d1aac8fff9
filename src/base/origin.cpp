#include "base/origin.h"

#include <fmt/chrono.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cctype>
#include <chrono>
#include <climits>
#include <string_view>
#include <vector>

namespace spankey {
namespace {

bool needs_no_quotes(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
}

std::string quoted(const std::string& word) {
  bool plain = !word.empty();
  for (const char c : word) plain = plain && needs_no_quotes(c);
  if (plain) return word;
  std::string text;
  for (const char c : word) text.append(c == '\'' ? "'\\''" : std::string(1, c));
  return fmt::format("'{}'", text);
}

}  // namespace

std::string utc_now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
}

std::string host_name() {
  char name[HOST_NAME_MAX + 1] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

std::string shell_quoted(std::span<const std::string> words) {
  std::vector<std::string> all;
  for (const auto& word : words) all.push_back(quoted(word));
  return fmt::format("{}", fmt::join(all, " "));
}

}  // namespace spankey
