// TOML text as every file of this project is read: toml++ with its gaps closed.
#pragma once

// toml++ asserts what malformed text violates before it goes on to refuse that text; without the assertions (as in a
// release build) the refusal is what the user gets.
#ifndef TOML_ASSERT
#define TOML_ASSERT(expression) static_assert(true)
#endif
#include <toml++/toml.h>

#include <string>
#include <string_view>

namespace spankey {

// Error(bad_input): "NAME:LINE: not valid TOML: ..." in one line.
toml::table parse_toml(std::string_view text, const std::string& name);

// A value of the command line, as "value": TOML where it is that, once with_digits() has seen to its numbers; anything
// else is a bare word, which stands for the string.
toml::table typed_value(const std::string& word);

// A value as it would stand in a file, on one line; "{...}" for a table.
std::string node_text(const toml::node& node);

// For messages: `text` on one line and not too long, whatever it is.
std::string shown(std::string text);

}  // namespace spankey
