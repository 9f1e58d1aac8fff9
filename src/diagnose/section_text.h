// Words the figures of a diagnosis as numbers, and as tables whose first column names the row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "page/document.h"

namespace spankey {

// Return a number with four significant digits, or "-" for one that does not exist.
std::string number_text(double value);
std::string number_text(std::int64_t value);
// Returns text such as "[0,2]".
std::string list_text(const std::vector<std::int64_t>& values);

// All columns but the first hold numbers.
Table figure_table(const std::string& caption, const std::vector<std::string>& titles);
void add_row(Table& table, const std::vector<std::string>& cells);

}  // namespace spankey
