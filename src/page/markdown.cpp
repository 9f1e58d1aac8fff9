#include <fmt/format.h>

#include "base/text.h"
#include "page/document.h"

namespace spankey {
namespace {

// Escapes brackets and blanks, which would end a link.
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
  const auto text = markdown_escaped(cell.text);
  return cell.link.empty() ? text : fmt::format("[{}]({})", text, link_target(cell.link));
}

std::string table_text(const Table& table) {
  std::vector<MarkdownTable::Column> columns;
  for (const auto& column : table.columns)
    columns.push_back({markdown_escaped(column.title), column.numeric ? Align::right : Align::left});
  MarkdownTable text(columns);
  for (const auto& row : table.rows) {
    std::vector<std::string> cells;
    for (const auto& cell : row) cells.push_back(cell_text(cell));
    text.row(cells);
  }
  return fmt::format("{}\n\n{}\n", markdown_prose(table.caption), text.text());
}

struct BlockText {
  std::string operator()(const Paragraph& paragraph) const {
    return fmt::format("{}\n\n", markdown_prose(paragraph.text));
  }
  std::string operator()(const Table& table) const { return table_text(table); }
  std::string operator()(const Figure& figure) const {
    return fmt::format("![{}]({})\n\n*{}.* {}\n\n", markdown_escaped(figure.title), link_target(figure.svg),
                       markdown_escaped(figure.title), markdown_prose(figure.caption));
  }
  // The fence is longer than any inside.
  std::string operator()(const Listing& listing) const {
    std::string fence(3, '`');
    while (listing.text.find(fence) != std::string::npos) fence.push_back('`');
    return fmt::format("{}:\n\n{}\n{}\n{}\n\n", markdown_prose(listing.title), fence, listing.text, fence);
  }
};

}  // namespace

std::string to_markdown(const Document& document) {
  auto text = fmt::format("# {}\n\n", markdown_escaped(document.title));
  for (const auto& figure : document.figures)
    text += fmt::format("- **{}: {}** {}\n", markdown_escaped(figure.label), markdown_escaped(figure.value),
                        markdown_prose(figure.note));
  text += fmt::format("{}{}\n\n", document.figures.empty() ? "" : "\n", markdown_prose(document.summary));
  for (const auto& section : document.sections) {
    text += fmt::format("## {}\n\n", markdown_escaped(section.title));
    for (const auto& block : section.blocks) text += std::visit(BlockText{}, block);
  }
  return fmt::format("{}{}\n", text, markdown_prose(document.footer));
}

}  // namespace spankey
