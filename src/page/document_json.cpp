#include <nlohmann/json.hpp>

#include <cstddef>
#include <iterator>
#include <utility>
#include <variant>

#include "base/error.h"
#include "page/document.h"

namespace spankey {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Paragraph, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Cell, text, link)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Column, title, numeric, help)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Table, caption, columns, rows)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Figure, title, caption, svg)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Listing, title, text)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(KeyFigure, label, value, note)

namespace {

// The kinds are in the order of Block.
constexpr const char* kinds[] = {"paragraph", "table", "figure", "listing"};
static_assert(std::size(kinds) == std::variant_size_v<Block>);

// Returns an object such as {"paragraph": {...}}.
nlohmann::json block_json(const Block& block) {
  nlohmann::json json;
  std::visit([&](const auto& part) { json[kinds[block.index()]] = part; }, block);
  return json;
}

template <std::size_t kind = 0>
Block read_block(const nlohmann::json& json) {
  if constexpr (kind < std::variant_size_v<Block>) {
    const auto found = json.find(kinds[kind]);
    if (found == json.end()) return read_block<kind + 1>(json);
    return found->get<std::variant_alternative_t<kind, Block>>();
  } else {
    fail_input("a block of an unknown kind");
  }
}

// The writers count on a cell for each column.
void require_full_rows(const Block& block) {
  const auto* table = std::get_if<Table>(&block);
  if (table == nullptr) return;
  for (const auto& row : table->rows)
    if (row.size() != table->columns.size())
      fail_input("a row of {} cells in a table of {} columns", row.size(), table->columns.size());
}

}  // namespace

std::string to_json_text(const Document& document) {
  auto sections = nlohmann::json::array();
  for (const auto& section : document.sections) {
    auto blocks = nlohmann::json::array();
    for (const auto& block : section.blocks) blocks.push_back(block_json(block));
    sections.push_back({{"title", section.title}, {"blocks", std::move(blocks)}});
  }
  nlohmann::json json{{"title", document.title},
                      {"summary", document.summary},
                      {"footer", document.footer},
                      {"sections", std::move(sections)}};
  if (!document.figures.empty()) json["figures"] = document.figures;
  return json.dump(2, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) + "\n";
}

Document from_json_text(const std::string& text, const std::string& origin) {
  try {
    const auto json = nlohmann::json::parse(text);
    Document document;
    json.at("title").get_to(document.title);
    json.at("summary").get_to(document.summary);
    json.at("footer").get_to(document.footer);
    if (json.contains("figures")) json.at("figures").get_to(document.figures);
    for (const auto& section : json.at("sections")) {
      auto& read = document.sections.emplace_back();
      section.at("title").get_to(read.title);
      for (const auto& block : section.at("blocks")) {
        read.blocks.push_back(read_block(block));
        require_full_rows(read.blocks.back());
      }
    }
    return document;
  } catch (const nlohmann::json::exception& problem) {
    fail_input("{}: not a document: {}", origin, problem.what());
  } catch (const Error& problem) {
    fail_input("{}: not a document: {}", origin, problem.what());
  }
}

}  // namespace spankey
