#include "base/text.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace spankey {
namespace {

// Number of bytes of the well-formed character with which `text` begins (Unicode 15, table 3-7), or 0.
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const auto first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (text.size() < length) return 0;
  const int least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const int most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < least || byte(1) > most) return 0;
  for (std::size_t i = 2; i < length; ++i)
    if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
  return length;
}

constexpr std::string_view dots = "...";

bool continues_a_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

// Returns the bytes that the first `count` characters take.
std::size_t bytes_of(std::string_view text, std::size_t count) {
  std::size_t at = 0;
  for (; at < text.size(); ++at)
    if (!continues_a_character(text[at]) && count-- == 0) break;
  return at;
}

std::string escaped(const std::string& text, std::string_view marks) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out.append("&lt;");
    } else if (c == '&') {
      out.append("&amp;");
    } else {
      if (marks.find(c) != std::string_view::npos) out.push_back('\\');
      out.push_back(c == '\n' ? ' ' : c);
    }
  }
  return out;
}

}  // namespace

std::string counted(std::int64_t number, std::string_view thing) {
  return fmt::format("{} {}{}", number, thing, number == 1 ? "" : "s");
}

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

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto length = character_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto length = character_length(text);
    const auto first = static_cast<std::uint8_t>(text[0]);
    const bool second_control = length == 2 && first == 0xC2 && static_cast<std::uint8_t>(text[1]) < 0xA0;
    if (length == 0 || first < 0x20 || first == 0x7F) {
      out += fmt::format("\\x{:02X}", first);
      text.remove_prefix(1);
    } else if (second_control) {  // U+0080 to U+009F, of which terminals obey some
      out += fmt::format("\\xC2\\x{:02X}", static_cast<std::uint8_t>(text[1]));
      text.remove_prefix(2);
    } else {
      out.append(text.substr(0, length));
      text.remove_prefix(length);
    }
  }
  return out;
}

void require_utf8(std::string_view text, std::string_view what) {
  if (!is_utf8(text)) fail_input("{} '{}': not UTF-8; accepted: text in UTF-8", what, escaped(text));
}

std::size_t count_characters(std::string_view text) {
  return text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), continues_a_character));
}

std::string first_characters(std::string_view text, std::size_t count) {
  return std::string(text.substr(0, bytes_of(text, count)));
}

std::string without_middle(const std::string& text, std::size_t longest) {
  const auto all = count_characters(text);
  if (all <= longest) return text;
  const auto kept = longest > dots.size() ? longest - dots.size() : 0;
  const auto head = (kept + 1) / 2;
  return first_characters(text, head).append(dots).append(text.substr(bytes_of(text, all - (kept - head))));
}

std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
  std::vector<std::string> lines;
  while (count_characters(text) > width && width > 0) {
    const auto most = bytes_of(text, width);
    const auto blank = text.substr(0, most + 1).rfind(' ');
    const auto end = blank == std::string_view::npos || blank == 0 ? most : blank;
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  }
  if (!text.empty()) lines.emplace_back(text);
  return lines;
}

std::string markdown_escaped(const std::string& text) {
  return escaped(text, "|*[\\`");
}

std::string markdown_prose(const std::string& text) {
  return escaped(text, "|");
}

MarkdownTable::MarkdownTable(const std::vector<Column>& columns) : width_(columns.size()), text_("|") {
  std::string rule("|");
  for (const auto& column : columns) {
    text_.append(" ").append(column.title).append(" |");
    rule.append(column.align == Align::right ? " ---: |" : " --- |");
  }
  text_.append("\n").append(rule).append("\n");
}

void MarkdownTable::row(const std::vector<std::string>& cells) {
  SPANKEY_CHECK_EQ(cells.size(), width_);
  text_.append("|");
  for (const auto& cell : cells) text_.append(" ").append(cell).append(" |");
  text_.append("\n");
}

}  // namespace spankey
