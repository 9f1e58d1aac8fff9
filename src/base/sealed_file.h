// Files that can tell whether they are whole: an image, then a footer that covers all of it.
//
// The footer is the magic "SPKYCRC1", the length of the image (uint64, little-endian) and the CRC32C of everything
// before it. HDF5 tools open an HDF5 image with such a footer.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace spankey {

constexpr std::size_t footer_bytes = 8 + 8 + 4;

void append_footer(std::vector<std::byte>& image);

// The image without its footer. Error(bad_input) names `name` and says in what length, magic or checksum fail.
std::span<const std::byte> checked_image(std::span<const std::byte> bytes, const std::string& name);

}  // namespace spankey
