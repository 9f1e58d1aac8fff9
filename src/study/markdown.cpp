#include <fmt/format.h>

#include "study/document.h"

namespace spankey {
namespace {

// Text that means itself; backquotes are left alone in prose, where they mark code.
std::string escaped(const std::string& text, bool prose) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      const bool marks = c == '|' || (!prose && (c == '*' || c == '[' || c == '\\' || c == '`'));
      if (marks) out.push_back('\\');
      out.push_back(c == '\n' ? ' ' : c);
    }
  }
  return out;
}

// Brackets and blanks would end a link.
std::string link_target(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (std::string_view(" ()<>%").find(c) == std::string_view::npos)
      out.push_back(c);
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string cell_text(const Cell& cell) {
  const auto text = escaped(cell.text, false);
  return cell.link.empty() ? text : fmt::format("[{}]({})", text, link_target(cell.link));
}

std::string table_text(const Table& table) {
  std::string head = "|", rule = "|", body;
  for (const auto& column : table.columns) {
    head += fmt::format(" {} |", escaped(column.title, false));
    rule += column.numeric ? " ---: |" : " --- |";
  }
  for (const auto& row : table.rows) {
    body += "|";
    for (const auto& cell : row) body += fmt::format(" {} |", cell_text(cell));
    body += "\n";
  }
  return fmt::format("{}\n\n{}\n{}\n{}\n", escaped(table.caption, true), head, rule, body);
}

struct BlockText {
  std::string operator()(const Paragraph& paragraph) const {
    return fmt::format("{}\n\n", escaped(paragraph.text, true));
  }
  std::string operator()(const Table& table) const { return table_text(table); }
  std::string operator()(const Figure& figure) const {
    return fmt::format("![{}]({})\n\n*{}.* {}\n\n", escaped(figure.title, false), link_target(figure.svg),
                       escaped(figure.title, false), escaped(figure.caption, true));
  }
  // A fence longer than any inside.
  std::string operator()(const Listing& listing) const {
    std::string fence(3, '`');
    while (listing.text.find(fence) != std::string::npos) fence.push_back('`');
    return fmt::format("{}:\n\n{}\n{}\n{}\n\n", escaped(listing.title, true), fence, listing.text, fence);
  }
};

}  // namespace

std::string to_markdown(const Document& document) {
  auto text = fmt::format("# {}\n\n{}\n\n", escaped(document.title, false), escaped(document.summary, true));
  for (const auto& section : document.sections) {
    text += fmt::format("## {}\n\n", escaped(section.title, false));
    for (const auto& block : section.blocks) text += std::visit(BlockText{}, block);
  }
  return fmt::format("{}{}\n", text, escaped(document.footer, true));
}

}  // namespace spankey
