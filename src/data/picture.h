// JPEG and PNG files as planes of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/remarks.h"

namespace spankey {

struct Picture {
  std::int64_t channels = 0, height = 0, width = 0;  // channels: 1 (grey) or 3 (red, green, blue)
  std::vector<std::uint8_t> pixels;                  // (channels, height, width)
};

// .jpg, .jpeg, .png in any case.
bool has_picture_name(const std::filesystem::path& path);

// JPEG or PNG by content; the samples as they are stored: no gamma, colour profile or transfer function is applied, of
// 16 bits the high byte is taken, less than 8 bits of grey are spread over 0 to 255, and a palette becomes colours.
// Transparency is laid over black, and what EXIF says of the camera's orientation is observed. These, names of the
// other format and warnings of the decoders are remarked. A damaged picture is Error(bad_input) with `name`, offset and
// what was expected, as is one of CMYK.
Picture decode_picture(std::span<const std::byte> bytes, const std::string& name, Remarks& remarks);
Picture decode_picture(std::span<const std::byte> bytes, const std::string& name);

std::vector<std::byte> encode_png(const Picture& picture);

// decode_picture() by format.
Picture decode_jpeg(std::span<const std::byte> bytes, const std::string& name, Remarks& remarks);
Picture decode_png(std::span<const std::byte> bytes, const std::string& name, Remarks& remarks);

// For the decoders. A picture of zeros; Error(bad_input) where a side is too long.
Picture blank_picture(std::int64_t channels, std::int64_t height, std::int64_t width, const std::string& name);
// Row y of (width, channels) into the planes.
void scatter_row(const std::uint8_t* row, std::int64_t y, Picture& picture);

}  // namespace spankey
