// JPEG and PNG files as planes of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace spankey {

struct Picture {
  std::int64_t channels = 0, height = 0, width = 0;  // channels: 1 (grey) or 3 (red, green, blue)
  std::vector<std::uint8_t> pixels;                  // (channels, height, width)
};

// .jpg, .jpeg, .png in any case.
bool has_picture_name(const std::filesystem::path& path);

// JPEG or PNG by content. Transparency is laid over black; 16 bits become 8. Damage, even what a viewer would paint
// over, is Error(bad_input) with `name`, offset and what was expected.
Picture decode_picture(std::span<const std::byte> bytes, const std::string& name);

std::vector<std::byte> encode_png(const Picture& picture);

}  // namespace spankey
