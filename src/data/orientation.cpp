#include "data/orientation.h"

#include <cstdint>
#include <cstring>
#include <utility>

namespace spankey {
namespace {

// Reads numbers of a TIFF file in the file's byte order. They are 0 beyond the end.
class Tiff {
 public:
  explicit Tiff(std::span<const std::byte> bytes) : bytes_(bytes) {
    if (bytes.size() < 8) return;
    little_ = std::memcmp(bytes.data(), "II*\0", 4) == 0;
    valid_ = little_ || std::memcmp(bytes.data(), "MM\0*", 4) == 0;
  }
  bool valid() const { return valid_; }
  std::uint32_t number(std::size_t at, std::size_t length) const {
    if (at > bytes_.size() || length > bytes_.size() - at) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < length; ++i)
      value = value << 8 | std::to_integer<std::uint32_t>(bytes_[at + (little_ ? length - 1 - i : i)]);
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool little_ = false, valid_ = false;
};

}  // namespace

int exif_orientation(std::span<const std::byte> tiff) {
  constexpr std::uint32_t orientation_tag = 0x0112, type_short = 3;
  constexpr std::size_t entry_bytes = 12;
  const Tiff file(tiff);
  if (!file.valid()) return 1;
  const std::size_t directory = file.number(4, 4);
  const std::size_t entries = file.number(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * entry_bytes;
    if (file.number(entry, 2) != orientation_tag || file.number(entry + 2, 2) != type_short) continue;
    const auto value = file.number(entry + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Picture upright(Picture picture, int orientation) {
  if (orientation == 1) return picture;
  const bool transposed = orientation >= 5;
  const bool flip_rows = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool flip_columns = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  Picture turned{picture.channels, picture.height, picture.width, {}};
  if (transposed) std::swap(turned.height, turned.width);
  turned.pixels.reserve(picture.pixels.size());
  for (std::int64_t c = 0; c < turned.channels; ++c)
    for (std::int64_t y = 0; y < turned.height; ++y)
      for (std::int64_t x = 0; x < turned.width; ++x) {
        auto [row, column] = transposed ? std::pair(x, y) : std::pair(y, x);
        if (flip_rows) row = picture.height - 1 - row;
        if (flip_columns) column = picture.width - 1 - column;
        turned.pixels.push_back(
            picture.pixels[static_cast<std::size_t>((c * picture.height + row) * picture.width + column)]);
      }
  return turned;
}

}  // namespace spankey
