// Markdown in GitHub's dialect.
#pragma once

#include <string>
#include <vector>

namespace spankey {

// Text that means itself, whatever it holds; line breaks become blanks.
std::string markdown_escaped(const std::string& text);
// The same but for `words in backquotes`, which stay code.
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
  void row(const std::vector<std::string>& cells);  // as many as columns
  const std::string& text() const { return text_; }

 private:
  std::size_t width_;
  std::string text_;
};

}  // namespace spankey
