// Words the figures of a diagnosis as numbers, and as tables whose first column names the row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "page/document.h"

namespace spankey {

// A number with four digits that matter, or with so many decimals. One that does not exist is "-".
std::string number_text(double value);
std::string number_text(std::int64_t value);
std::string fixed_text(double value, int decimals);
// "[0,2]"
std::string list_text(const std::vector<std::int64_t>& values);

// All columns but the first hold numbers.
Table figure_table(const std::string& caption, const std::vector<std::string>& titles);
void add_row(Table& table, const std::vector<std::string>& cells);

}  // namespace spankey
