#include "base/markdown.h"

#include <string_view>

#include "base/error.h"

namespace spankey {
namespace {

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
