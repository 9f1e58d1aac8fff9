#include "base/command_line.h"

#include <fmt/format.h>

#include <cstddef>
#include <string_view>

#include "base/error.h"
#include "base/origin.h"
#include "base/text.h"

namespace spankey::command_line {
namespace {

struct CommandLine {
  std::string program;
  std::vector<std::string> words;
};

CommandLine& stored() {
  static CommandLine line;
  return line;
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
  auto& [program, words] = stored();
  if (argc > 0) program = argv[0];
  words.assign(argv + (argc > 0 ? 1 : 0), argv + argc);
  for (std::size_t i = 0; i < words.size(); ++i) {
    require_utf8(words[i], name_of(words, i));
    if (is_empty(words[i]))
      fail_input("{}: empty (a shell variable that is not set?); accepted: a value", name_of(words, i));
  }
}

const std::vector<std::string>& words() {
  return stored().words;
}

std::string text() {
  const auto& [program, words] = stored();
  if (program.empty()) return "";
  std::vector<std::string> all{program};
  all.insert(all.end(), words.begin(), words.end());
  return shell_quoted(all);
}

}  // namespace spankey::command_line
