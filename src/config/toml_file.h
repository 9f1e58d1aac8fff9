// Reads TOML for every file of this project, through toml++ with its gaps closed.
#pragma once

// toml++ asserts on some malformed text before it refuses that text properly. Without the assertions (as in a release
// build) the user gets the refusal.
#ifndef TOML_ASSERT
#define TOML_ASSERT(expression) static_assert(true)
#endif
#include <toml++/toml.h>

#include <string>
#include <string_view>

namespace spankey {

// Throws Error(bad_input) "NAME:LINE: not valid TOML: ..." in one line.
toml::table parse_toml(std::string_view text, const std::string& name);

// Reads a value of the command line into a table under "value". It is TOML if it parses as TOML after with_digits().
// Anything else is a bare word, which means the string.
toml::table typed_value(const std::string& word);

// A value on one line as it would stand in a file, or "{...}" for a table.
std::string node_text(const toml::node& node);

// `text` for messages, on one line and not too long.
std::string shown(std::string text);

}  // namespace spankey
