// Numbers as people write them. Overrides, options of the command line and messages about files all read them here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/field.h"

namespace spankey {

// TOML requires a digit on both sides of a decimal point. This adds the missing ones, so that ".5" becomes "0.5", "5."
// becomes "5.0", and "[+.5, 1.e3]" becomes "[+0.5, 1.0e3]". Quoted text stays as it is.
std::string with_digits(std::string_view text);

// Returns advice for one token that was meant as a number but is not of the wanted kind, such as "; a number is written
// 0.5". Empty where the token does not look like a number. `whole` says that an integer is wanted.
std::string number_advice(std::string_view token, bool whole);

// Returns the same advice for a line of a file that is not valid TOML, about its first number that is not written as
// TOML wants it.
std::string line_advice(std::string_view line);

// Reads a value of the command line after with_digits(). Returns nullopt unless it is a number of this kind inside the
// bounds.
std::optional<std::int64_t> typed_integer(const std::string& word, const Bounds& bounds);
std::optional<double> typed_number(const std::string& word, const Bounds& bounds);

// True where the bounds accept a finite number.
bool inside(double value, const Bounds& bounds);

}  // namespace spankey
