#include "base/command_line.h"

#include <fmt/format.h>

#include <cstddef>
#include <string_view>

#include "base/error.h"
#include "base/text.h"

namespace spankey::command_line {
namespace {

std::vector<std::string>& stored() {
  static std::vector<std::string> words;
  return words;
}

// How a message names word `i`, by its flag or by its position.
std::string name_of(const std::vector<std::string>& words, std::size_t i) {
  const auto is_flag = [](std::string_view word) { return word.starts_with("--") && word.size() > 2; };
  if (is_flag(words[i])) return escaped(words[i].substr(0, words[i].find('=')));
  if (i > 0 && is_flag(words[i - 1]) && words[i - 1].find('=') == std::string::npos) return words[i - 1];
  return fmt::format("argument {}", i + 1);
}

bool is_empty(std::string_view word) {
  return word.empty() || (word.starts_with("--") && word.ends_with('=') && word.find('=') == word.size() - 1);
}

}  // namespace

void remember(int argc, const char* const* argv) {
  auto& words = stored();
  words.assign(argv + (argc > 0 ? 1 : 0), argv + argc);
  for (std::size_t i = 0; i < words.size(); ++i) {
    require_utf8(words[i], name_of(words, i));
    if (is_empty(words[i]))
      fail_input("{}: empty (a shell variable that is not set?); accepted: a value", name_of(words, i));
  }
}

const std::vector<std::string>& words() {
  return stored();
}

}  // namespace spankey::command_line
