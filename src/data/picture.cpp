#include "data/picture.h"

#include <cctype>
#include <cstring>
#include <string_view>

#include "base/error.h"

namespace spankey {
namespace {

constexpr std::string_view png_signature = "\x89PNG\r\n\x1a\n";
constexpr std::string_view jpeg_signature = "\xff\xd8\xff";
constexpr std::int64_t largest_side = 1 << 15;

bool starts_with(std::span<const std::byte> bytes, std::string_view signature) {
  return bytes.size() >= signature.size() && std::memcmp(bytes.data(), signature.data(), signature.size()) == 0;
}

// Small letters, with the dot.
std::string extension_of(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension;
}

}  // namespace

bool has_picture_name(const std::filesystem::path& path) {
  const std::string extension = extension_of(path);
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

Picture blank_picture(std::int64_t channels, std::int64_t height, std::int64_t width, const std::string& name) {
  if (height > largest_side || width > largest_side)
    fail_input("{}: offset 0: expected at most {} pixels a side, found {} x {}", name, largest_side, width, height);
  return {channels, height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(channels * height * width))};
}

void scatter_row(const std::uint8_t* row, std::int64_t y, Picture& picture) {
  for (std::int64_t c = 0; c < picture.channels; ++c) {
    std::uint8_t* plane = picture.pixels.data() + (c * picture.height + y) * picture.width;
    for (std::int64_t x = 0; x < picture.width; ++x) plane[x] = row[x * picture.channels + c];
  }
}

Picture decode_picture(std::span<const std::byte> bytes, const std::string& name, Remarks& remarks) {
  const bool png = starts_with(bytes, png_signature);
  if (!png && !starts_with(bytes, jpeg_signature))
    fail_input("{}: offset 0: expected a JPEG (ff d8 ff) or PNG (89 50 4e 47) signature{}", name,
               bytes.empty() ? ", the file is empty" : "");
  if (has_picture_name(name) && png != (extension_of(name) == ".png"))
    remarks.add(png ? "PNG under a name of JPEG" : "JPEG under a name of PNG", name);
  return png ? decode_png(bytes, name, remarks) : decode_jpeg(bytes, name, remarks);
}

Picture decode_picture(std::span<const std::byte> bytes, const std::string& name) {
  Remarks remarks;
  return decode_picture(bytes, name, remarks);
}

}  // namespace spankey
