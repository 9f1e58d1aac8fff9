// Files that can tell whether they are whole. An image is followed by a footer that covers all of it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace spankey {

constexpr std::size_t footer_bytes = 8 + 8 + 4;

void append_footer(std::vector<std::byte>& image);

// Returns the image without its footer. Error(bad_input) names `name` and says which of length, magic or checksum is
// wrong.
std::span<const std::byte> checked_image(std::span<const std::byte> bytes, const std::string& name);

}  // namespace spankey
