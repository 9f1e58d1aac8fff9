// What a report says, apart from how it is written down: the same document becomes a page and a Markdown file.
#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

namespace spankey {

// Plain text everywhere; `words in backquotes` of a paragraph, a caption or the summary are code.
struct Paragraph {
  std::string text;
};

struct Cell {
  std::string text;
  std::string link = {};  // relative path or empty
};

struct Column {
  std::string title;
  bool numeric = true;  // right-aligned
  std::string help = {};
};

struct Table {
  std::string caption;
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;  // as wide as columns
};

struct Figure {
  std::string title, caption;
  std::string svg;  // relative to the folder of the document
};

// Verbatim text that is folded away where that is possible.
struct Listing {
  std::string title, text;
};

using Block = std::variant<Paragraph, Table, Figure, Listing>;

struct Section {
  std::string title;
  std::vector<Block> blocks;
};

struct Document {
  std::string title, summary, footer;
  std::vector<Section> sections;
};

// One page for any browser: light or dark as the reader's system is, printable, tables that scroll on narrow screens
// and sort where scripts are allowed, SVG files of `folder` inlined. It refers to nothing outside itself but run
// directories.
std::string to_html(const Document& document, const std::filesystem::path& folder);

// GitHub's dialect; figures are links to the SVG files.
std::string to_markdown(const Document& document);

// "Accuracy by key" -> "accuracy-by-key"; `taken` keeps anchors apart.
std::string anchor(const std::string& title, std::vector<std::string>& taken);

// One line of a CSV file (RFC 4180), with its line end.
std::string csv_line(const std::vector<std::string>& fields);

}  // namespace spankey
