// Markdown in GitHub's dialect.
#pragma once

#include <string>
#include <vector>

namespace spankey {

// Escapes text so that Markdown shows it literally. Line breaks become blanks.
std::string markdown_escaped(const std::string& text);
// Escapes in the same way, but keeps `words in backquotes` as code.
std::string markdown_prose(const std::string& text);

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
