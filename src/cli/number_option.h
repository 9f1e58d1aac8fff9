// Numbers of the command line, read as configurations read them (config/number.h). For example .5 and 1_000 are
// numbers, 010 and nan are not.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>

namespace spankey::cli {

// Validators for Option::transform(). They refuse, in one line, what is no integer (number) from `low` to `high`, both
// included.
CLI::Validator integer_between(std::int64_t low, std::int64_t high);
CLI::Validator number_between(double low, double high);

}  // namespace spankey::cli
