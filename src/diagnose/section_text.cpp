#include "diagnose/section_text.h"

#include <fmt/ranges.h>

#include <cmath>

#include "base/error.h"

namespace spankey {

std::string number_text(double value) {
  if (!std::isfinite(value)) return "-";
  const double size = std::abs(value);
  return value != 0 && (size < 1e-3 || size >= 1e5) ? fmt::format("{:.2e}", value) : fmt::format("{:.4g}", value);
}

std::string number_text(std::int64_t value) {
  return fmt::format("{}", value);
}

std::string fixed_text(double value, int decimals) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, decimals) : "-";
}

std::string list_text(const std::vector<std::int64_t>& values) {
  return fmt::format("[{}]", fmt::join(values, ","));
}

Table figure_table(const std::string& caption, const std::vector<std::string>& titles) {
  Table table{caption, {}, {}};
  for (const auto& title : titles) table.columns.push_back({title, /*numeric=*/!table.columns.empty()});
  return table;
}

void add_row(Table& table, const std::vector<std::string>& cells) {
  SPANKEY_CHECK_EQ(cells.size(), table.columns.size());
  auto& row = table.rows.emplace_back();
  for (const auto& cell : cells) row.push_back({cell});
}

}  // namespace spankey
