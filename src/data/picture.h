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
  std::int64_t channels = 0, height = 0, width = 0;  // 1 channel (grey) or 3 (red, green, blue)
  std::vector<std::uint8_t> pixels;                  // (channels, height, width)
};

// True for names that end in .jpg, .jpeg or .png, in any case.
bool has_picture_name(const std::filesystem::path& path);

// Decodes JPEG or PNG, told apart by content. The samples are those that are stored. No gamma, colour profile or
// transfer function is applied, 16 bits are cut to the high byte, less than 8 bits of grey are spread over 0 to 255,
// and a palette becomes colours. Transparency is laid over black, and the EXIF orientation is applied. These, names of
// the other format and warnings of the decoders are recorded in `remarks`. A damaged picture or one of CMYK throws
// Error(bad_input) with `name`, the offset and what was expected.
Picture decode_picture(std::span<const std::byte> bytes, const std::string& name, Remarks& remarks);
Picture decode_picture(std::span<const std::byte> bytes, const std::string& name);

std::vector<std::byte> encode_png(const Picture& picture);

// The decoders of decode_picture(), one for each format.
Picture decode_jpeg(std::span<const std::byte> bytes, const std::string& name, Remarks& remarks);
Picture decode_png(std::span<const std::byte> bytes, const std::string& name, Remarks& remarks);

// A picture of zeros, for the decoders. Throws Error(bad_input) where a side is too long.
Picture blank_picture(std::int64_t channels, std::int64_t height, std::int64_t width, const std::string& name);
// Copies row y, (width, channels), into the planes.
void scatter_row(const std::uint8_t* row, std::int64_t y, Picture& picture);

}  // namespace spankey
