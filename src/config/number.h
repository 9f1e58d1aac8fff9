// Numbers as people write them: one reading for overrides, options of the command line and messages about files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/field.h"

namespace spankey {

// TOML wants a digit on both sides of a point. `text` with those that are missing: ".5" -> "0.5", "5." -> "5.0",
// "[+.5, 1.e3]" -> "[+0.5, 1.0e3]"; what stands in quotes stays.
std::string with_digits(std::string_view text);

// One token that was meant as a number and is none of the wanted kind: "; a number is written 0.5" and its like, or
// nothing where it does not look like a number. `whole`: an integer is wanted.
std::string number_advice(std::string_view token, bool whole);

// The same for a line of a file that is not valid TOML: about the first number in it that is written in another way.
std::string line_advice(std::string_view line);

// A value of the command line, where with_digits() is at work. nullopt: not a number of this kind inside the bounds.
std::optional<std::int64_t> typed_integer(const std::string& word, const Bounds& bounds);
std::optional<double> typed_number(const std::string& word, const Bounds& bounds);

// Whether a finite number is accepted.
bool inside(double value, const Bounds& bounds);

}  // namespace spankey
