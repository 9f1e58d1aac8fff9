#include "config/toml_file.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "base/error.h"
#include "config/number.h"
#include "config/value.h"

namespace spankey {
namespace {

void refuse_nul(std::string_view text, const std::string& name) {
  const std::size_t offset = text.find('\0');
  if (offset == std::string_view::npos) return;
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n');
  fail_input("{}:{}: a NUL byte at offset {}: accepted: a text file in TOML", name, line, offset);
}

std::string_view opening_quote(std::string_view rest) {
  for (const std::string_view quote : {"\"\"\"", "'''", "\"", "'"}) {
    if (rest.starts_with(quote)) return quote;
  }
  return "";
}

// Only ASCII is accepted outside comments and strings of one line. TOML itself forbids other characters outside
// strings. toml++ 3.3 looks such characters up in a table with a gap (U+FB26 to U+FEFE, undefined behaviour), in
// strings of several lines too.
void refuse_stray_characters(std::string_view text, const std::string& name) {
  const std::string_view line_end = "\n";
  std::string_view closing;  // the end mark of the current string or comment, empty outside
  for (std::size_t i = text.starts_with("\xef\xbb\xbf") ? 3 : 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    if (static_cast<unsigned char>(rest[0]) >= 0x80 && closing.size() != 1) {
      const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(i), '\n');
      fail_input("{}:{}: not valid TOML: a character outside ASCII; accepted: in comments and in strings of one line",
                 name, line);
    }
    if (closing.empty()) {
      closing = rest[0] == '#' ? line_end : opening_quote(rest);
      i += std::max<std::size_t>(1, closing.size());
    } else if (closing[0] == '"' && rest[0] == '\\') {
      i += 2;
    } else if (rest.starts_with(closing)) {
      i += closing.size();
      // The content of a string of several lines may end in one or two quotes.
      for (int own = 0; own < 2 && closing.size() == 3 && i < text.size() && text[i] == closing[0]; ++own) ++i;
      closing = {};
    } else {
      if (closing.size() == 1 && rest[0] == '\n') closing = {};  // not closed, which toml++ reports
      ++i;
    }
  }
}

// Line `number` of a text, counted from 1.
std::string_view line_of(std::string_view text, std::size_t number) {
  for (; number > 1; --number) text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  return text.substr(0, text.find('\n'));
}

}  // namespace

toml::table parse_toml(std::string_view text, const std::string& name) {
  refuse_nul(text, name);
  refuse_stray_characters(text, name);
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    const auto line = error.source().begin.line;
    fail_input("{}:{}: not valid TOML: {}{}", name, line, shown(std::string(error.description())),
               line_advice(line_of(text, line)));
  }
}

toml::table typed_value(const std::string& word) {
  try {
    toml::table parsed = parse_toml("value = " + with_digits(word), "command line");
    if (parsed.size() == 1) return parsed;
  } catch (const std::runtime_error&) {  // toml::parse_error or Error
  }
  return toml::table{{"value", word}};
}

// Shortens any text to one line that is not too long.
std::string shown(std::string text) {
  constexpr std::size_t longest = 80;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (text.size() > longest) text = text.substr(0, longest) + "...";
  return text;
}

std::string node_text(const toml::node& node) {
  if (const auto* value = node.as_boolean()) return value_text(value->get());
  if (const auto* value = node.as_integer()) return value_text(value->get());
  if (const auto* value = node.as_floating_point()) return value_text(value->get());
  if (const auto* value = node.as_string()) return value_text(value->get());
  std::ostringstream out;
  if (const auto* list = node.as_array()) {
    for (const toml::node& element : *list) out << (out.tellp() == 0 ? "" : ", ") << node_text(element);
    return "[" + out.str() + "]";
  }
  if (node.is_table()) return "{...}";
  node.visit([&out](const auto& value) {
    if constexpr (toml::is_chronological<decltype(value)>) out << value.get();
  });
  return out.str();
}

}  // namespace spankey
