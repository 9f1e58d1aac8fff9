#include "base/sealed_file.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/digest.h"
#include "base/error.h"

namespace spankey {
namespace {

static_assert(std::endian::native == std::endian::little, "the footer is little-endian");

constexpr std::string_view footer_magic = "SPKYCRC1";

template <class T>
T read_number(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

template <class T>
void append_number(std::vector<std::byte>& bytes, T value) {
  const auto* raw = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), raw, raw + sizeof value);
}

}  // namespace

void append_footer(std::vector<std::byte>& image) {
  const std::uint64_t length = image.size();
  const auto* magic = reinterpret_cast<const std::byte*>(footer_magic.data());
  image.insert(image.end(), magic, magic + footer_magic.size());
  append_number(image, length);
  append_number(image, crc32c(image));
}

std::span<const std::byte> checked_image(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() < footer_bytes)
    fail_input("{}: {} bytes, too short for a file with a checksum footer of {} bytes", name, bytes.size(),
               footer_bytes);
  const auto footer = bytes.last(footer_bytes);
  if (std::memcmp(footer.data(), footer_magic.data(), footer_magic.size()) != 0)
    fail_input("{}: no checksum footer at offset {} (truncated, or not written by spankey)", name,
               bytes.size() - footer_bytes);
  const auto length = read_number<std::uint64_t>(footer.subspan(8));
  if (length != bytes.size() - footer_bytes)
    fail_input("{}: the footer tells of {} bytes, the file has {}", name, length, bytes.size() - footer_bytes);
  const auto expected = read_number<std::uint32_t>(footer.subspan(16));
  const auto found = crc32c(bytes.first(bytes.size() - 4));
  if (found != expected) fail_input("{}: checksum {:08x}, expected {:08x}: the file is damaged", name, found, expected);
  return bytes.first(length);
}

}  // namespace spankey
