// The two tables of keys that people read, in --help and in docs/configuration.md.
#include <fmt/format.h>

#include <sstream>

#include "base/text.h"
#include "config/config.h"
#include "config/entries.h"

namespace spankey {
namespace {

constexpr std::size_t text_column = 36;
constexpr std::size_t line_width = 118;

// Puts `text` after `first` and breaks it between words into lines that start at text_column.
std::string wrapped(const std::string& first, const std::string& text) {
  std::string out;
  std::string line = first.size() < text_column ? first : first + "\n" + std::string(text_column - 1, ' ');
  std::size_t width = std::min(first.size(), text_column - 1);
  line.append(text_column - 1 - width, ' ');
  width = text_column - 1;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (width + 1 + word.size() > line_width) {
      out += line + "\n";
      line.assign(text_column - 1, ' ');
      width = text_column - 1;
    }
    line += " " + word;
    width += 1 + word.size();
  }
  return out + line + "\n";
}

}  // namespace

std::string describe_fields() {
  const Config defaults;
  const auto all = entries(defaults);
  std::string text;
  Config::tables(defaults, [&](const auto&, std::string_view table, std::string_view table_help) {
    text += fmt::format("{}[{}]  {}\n", text.empty() ? "" : "\n", table, table_help);
    for (const Entry& entry : all) {
      if (entry.table != table) continue;
      const std::string reference =
          entry.reference.empty() ? "" : fmt::format("; {} under compat = \"reference\"", entry.reference);
      text += wrapped(fmt::format("  {} = {}", entry.key, entry.value),
                      fmt::format("{} ({}{})", entry.help, entry.accepted, reference));
    }
  });
  return text;
}

std::string fields_markdown() {
  const Config defaults;
  const auto all = entries(defaults);
  std::string text =
      "# Configuration\n\n"
      "A run is described by a TOML file; every key can be overridden on the command line as `key.gamma=1.0`.\n"
      "Numbers are written as in TOML (`0.5`, `1e-3`, `1_000`); on the command line `.5` and `5.` are taken as well.\n"
      "This page is written by the program from its field lists.\n\n"
      "`run.compat = \"reference\"` changes the defaults that are given in brackets; explicit values always win.\n"
      "Keys marked \"no\" in the last column are left out of the configuration hash: they may change between a run\n"
      "and its resumption.\n";
  Config::tables(defaults, [&](const auto&, std::string_view table, std::string_view table_help) {
    MarkdownTable rows({{"key", Align::left},
                        {"default", Align::left},
                        {"accepted", Align::left},
                        {"meaning", Align::left},
                        {"in the hash", Align::left}});
    for (const Entry& entry : all) {
      if (entry.table != table) continue;
      const std::string reference = entry.reference.empty() ? "" : fmt::format(" (`{}`)", entry.reference);
      rows.row({fmt::format("`{}`", entry.key), fmt::format("`{}`{}", entry.value, reference), entry.accepted,
                std::string(entry.help), entry.hashed ? "yes" : "no"});
    }
    text += fmt::format("\n## [{}]\n\n{}\n\n{}", table, table_help, rows.text());
  });
  return text;
}

}  // namespace spankey
