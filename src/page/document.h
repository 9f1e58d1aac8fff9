// The content of a report or a diagnosis, apart from its form. The same document becomes a page, a Markdown file, and
// JSON that another program puts into a document of its own.
#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

namespace spankey {

// Text is plain everywhere. Only in a paragraph, a caption and the summary are `words in backquotes` code.
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

// One of the few figures with which a page opens.
struct KeyFigure {
  std::string label, value, note;
};

struct Document {
  std::string title, summary, footer;
  std::vector<Section> sections;
  std::vector<KeyFigure> figures = {};  // where there are some, the page opens with them and folds the summary
  int refresh_seconds = 0;              // the page loads itself again after this time, 0: never
};

// Tables of more rows are folded on the page.
inline constexpr std::size_t most_open_rows = 20;

// Returns one page for any browser. It is light or dark as the reader's system is, and can be printed. Tables scroll on
// narrow screens, which shadows at their edges show, and sort where scripts are allowed. SVG files of `folder` are
// inlined, with their form for narrow screens where there is one. The page refers to nothing outside itself except run
// directories.
std::string to_html(const Document& document, const std::filesystem::path& folder);

// Returns GitHub's dialect of Markdown. Figures are links to the SVG files.
std::string to_markdown(const Document& document);

// Convert a document to JSON and back. from_json_text() throws Error(bad_input), which calls the text `origin`, for a
// text that to_json_text() did not write.
std::string to_json_text(const Document& document);
Document from_json_text(const std::string& text, const std::string& origin);

// The name of the JSON file beside the page.
inline constexpr const char* document_file = "page.json";

// Returns an anchor such as "accuracy-by-key" for "Accuracy by key". `taken` keeps anchors apart.
std::string anchor(const std::string& title, std::vector<std::string>& taken);

// Returns one line of a CSV file (RFC 4180), with its line end.
std::string csv_line(const std::vector<std::string>& fields);

}  // namespace spankey
