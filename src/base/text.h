// Text: counts, durations and lines as a person reads them, UTF-8, and what Markdown gives a meaning to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spankey {

// Returns a count with its noun, such as "1 run", "2 runs" or "0 runs".
std::string counted(std::int64_t number, std::string_view thing);

// Returns text such as "1 h 12 min", "4 min 05 s" or "12 s".
std::string duration_text(double seconds);

// Returns the same for a narrow place, such as "1:12:05", "4:05" or "0:12". A negative duration counts as none.
std::string clock_text(double seconds);

// "1,234,567"
std::string group_thousands(long number);

// Returns the last line of a text that is not blank, without blanks at its end. Empty where there is none.
std::string last_line_of(const std::string& text);

// True where a line that is written to this descriptor can be written over, which needs a terminal, and TERM that is
// set and not "dumb".
bool redraws_lines(int descriptor);

// File names, arguments and files may hold any bytes. What the program writes (TOML, JSON, HDF5, HTML) is UTF-8, and
// other text in it could never be read again.

// True for UTF-8 as RFC 3629 defines it, without overlong forms, surrogates, or anything above U+10FFFF.
bool is_utf8(std::string_view text);

// Returns `text` on one line for a message. Bytes that are not UTF-8 and control characters appear as \xE9.
std::string escaped(std::string_view text);

// Throws Error(bad_input) "WHAT '...': not UTF-8; accepted: text in UTF-8" unless `text` is UTF-8.
void require_utf8(std::string_view text, std::string_view what);

// Returns the text escaped so that Markdown shows it literally. Line breaks become blanks.
std::string markdown_escaped(const std::string& text);
// Does the same, but keeps `words in backquotes` as code.
std::string markdown_prose(const std::string& text);

// Text measured in characters of UTF-8, for places of limited width. Each character counts as one column.

// Counts the characters.
std::size_t count_characters(std::string_view text);

// Returns the first `count` characters.
std::string first_characters(std::string_view text, std::size_t count);

// Returns at most `longest` characters, with dots in place of the middle, because the end of a label tells more.
std::string without_middle(const std::string& text, std::size_t longest);

// Returns lines of at most `width` characters, broken at blanks where there are some.
std::vector<std::string> wrapped(std::string_view text, std::size_t width);

enum class Align { left, right };

class MarkdownTable {
 public:
  struct Column {
    std::string title;
    Align align;
  };

  // Titles and cells are Markdown.
  explicit MarkdownTable(const std::vector<Column>& columns);
  void row(const std::vector<std::string>& cells);  // one cell for each column
  const std::string& text() const { return text_; }

 private:
  std::size_t width_;
  std::string text_;
};

}  // namespace spankey
