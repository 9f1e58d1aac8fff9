// Checks of text from outside. File names, arguments and files may hold any bytes. What the program writes (TOML, JSON,
// HDF5, HTML) is UTF-8, and other text in it could never be read again.
#pragma once

#include <string>
#include <string_view>

namespace spankey {

// True for UTF-8 as RFC 3629 defines it, without overlong forms, surrogates, or anything above U+10FFFF.
bool is_utf8(std::string_view text);

// `text` on one line for a message. Bytes that are not UTF-8 and control characters appear as \xE9.
std::string escaped(std::string_view text);

// Throws Error(bad_input) "WHAT '...': not UTF-8; accepted: text in UTF-8" unless `text` is UTF-8.
void require_utf8(std::string_view text, std::string_view what);

}  // namespace spankey
