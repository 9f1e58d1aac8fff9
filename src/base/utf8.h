// Text from outside: file names, arguments and files may hold any bytes, but what the program writes (TOML, JSON, HDF5,
// HTML) is UTF-8, and other text in it could never be read again.
#pragma once

#include <string>
#include <string_view>

namespace spankey {

// As RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

// `text` for a message, on one line: what is not UTF-8, and control characters, as \xE9.
std::string escaped(std::string_view text);

// Error(bad_input) unless `text` is UTF-8: "WHAT '...': not UTF-8; accepted: text in UTF-8".
void require_utf8(std::string_view text, std::string_view what);

}  // namespace spankey
