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

// A value as it would stand in a file, on one line; "{...}" for a table.
std::string node_text(const toml::node& node);

// For messages: `text` on one line and not too long, whatever it is.
std::string shown(std::string text);

// "; did you mean 'NEAR'?", or nothing where nothing is near.
std::string did_you_mean(const std::string& near);

}  // namespace spankey
