#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "data/orientation.h"
#include "data/picture.h"

namespace spankey {
namespace {

constexpr std::size_t signature_bytes = 8;

std::uint32_t big_endian_32(std::span<const std::byte> bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<std::uint32_t>(bytes[i]);
  return value;
}

// True for a chunk that holds samples or changes them. The other chunks may be lost.
bool decides_samples(std::string_view type) {
  return (static_cast<unsigned char>(type[0]) & 0x20U) == 0 || type == "tRNS";
}

// Walks the chunks (length, type, data, CRC) up to IEND, because libpng would not say where the damage is.
void check_png_chunks(std::span<const std::byte> bytes, const std::string& name, Remarks& remarks) {
  for (std::size_t at = signature_bytes;;) {
    const std::size_t left = bytes.size() - at;
    const std::size_t needed = left < 12 ? 12 : 12 + std::size_t{big_endian_32(bytes.subspan(at))};
    if (left < needed) {
      fail_input("{}: offset {}: expected a PNG chunk of {} bytes, found {}: truncated", name, at, needed, left);
    }
    const auto body = bytes.subspan(at + 4, needed - 8);
    const std::string_view type(reinterpret_cast<const char*>(body.data()), 4);
    const auto expected = big_endian_32(bytes.subspan(at + needed - 4));
    const auto found = static_cast<std::uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size())));
    if (found != expected) {
      if (decides_samples(type))
        fail_input("{}: offset {}: expected a PNG chunk with the CRC {:08x}, found {:08x}: damaged", name, at, expected,
                   found);
      remarks.add("damaged PNG chunks without samples, left out", fmt::format("{}: offset {}", name, at));
    }
    if (type == "IEND") return;
    at += needed;
  }
}

// libpng reports through callbacks and longjmp. None of the frames that it leaves holds a C++ object of ours.
class PngReader {
 public:
  PngReader(std::span<const std::byte> bytes, const std::string& name) : left_(bytes), name_(name) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      fail_run("{}: cannot start libpng", name);
    }
    png_set_read_fn(png_, this, on_read);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  // Sizes and channels (1 grey, 2 with alpha, 3 colour, 4 with alpha; 8 bits each) are known after this.
  void start() {
    if (setjmp(jump_) != 0) fail();
    png_set_benign_errors(png_, 1);
    png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_WARN_DISCARD);
    png_read_info(png_, info_);
    depth_ = png_get_bit_depth(png_, info_);
    if (png_get_color_type(png_, info_) == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
    if (depth_ < 8) png_set_expand_gray_1_2_4_to_8(png_);
    if (png_get_valid(png_, info_, PNG_INFO_tRNS) != 0) png_set_tRNS_to_alpha(png_);
    if (depth_ == 16) png_set_strip_16(png_);  // the high byte
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
  }
  void read(png_bytepp rows) {
    if (setjmp(jump_) != 0) fail();
    png_read_image(png_, rows);
    png_read_end(png_, info_);
  }

  std::int64_t channels() const { return png_get_channels(png_, info_); }
  std::int64_t height() const { return png_get_image_height(png_, info_); }
  std::int64_t width() const { return png_get_image_width(png_, info_); }
  int depth() const { return depth_; }
  // The first warning, or "".
  std::string warning() const { return warning_.data(); }
  int orientation() const {
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &exif) == 0) return 1;
    return exif_orientation(std::as_bytes(std::span(exif, size)));
  }

 private:
  using Text = std::array<char, 128>;

  static void keep(Text& text, png_const_charp message) { std::strncpy(text.data(), message, text.size() - 1); }
  static PngReader& of(png_voidp pointer) { return *static_cast<PngReader*>(pointer); }
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    PngReader& reader = of(png_get_error_ptr(png));
    keep(reader.message_, message);
    std::longjmp(reader.jump_, 1);
  }
  static void on_warning(png_structp png, png_const_charp message) {
    PngReader& reader = of(png_get_error_ptr(png));
    if (reader.warning_[0] == '\0') keep(reader.warning_, message);
  }
  static void on_read(png_structp png, png_bytep out, std::size_t count) {
    PngReader& reader = of(png_get_io_ptr(png));
    if (count > reader.left_.size()) png_error(png, "truncated");
    std::memcpy(out, reader.left_.data(), count);
    reader.left_ = reader.left_.subspan(count);
  }
  [[noreturn]] void fail() const {
    fail_input("{}: offset {}: expected intact PNG data: {}", name_, signature_bytes, message_.data());
  }

  std::span<const std::byte> left_;
  const std::string& name_;
  std::jmp_buf jump_;
  Text message_{}, warning_{};
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int depth_ = 0;
};

// Lays pixels (samples, alpha) over black, in place. Returns whether any of them is not opaque.
bool lay_over_black(std::vector<std::uint8_t>& values, std::size_t samples) {
  bool transparent = false;
  auto out = values.begin();
  for (std::size_t at = 0; at < values.size(); at += samples + 1) {
    const unsigned alpha = values[at + samples];
    transparent = transparent || alpha != 255;
    for (std::size_t i = 0; i < samples; ++i) *out++ = static_cast<std::uint8_t>((values[at + i] * alpha + 127) / 255);
  }
  values.erase(out, values.end());
  return transparent;
}

}  // namespace

Picture decode_png(std::span<const std::byte> bytes, const std::string& name, Remarks& remarks) {
  check_png_chunks(bytes, name, remarks);
  PngReader reader(bytes, name);
  reader.start();
  const auto stored = reader.channels();
  const bool alpha = stored % 2 == 0;
  Picture picture = blank_picture(alpha ? stored - 1 : stored, reader.height(), reader.width(), name);
  std::vector<std::uint8_t> values(static_cast<std::size_t>(stored * picture.height * picture.width));
  std::vector<png_bytep> rows;
  for (std::int64_t y = 0; y < picture.height; ++y) rows.push_back(values.data() + y * picture.width * stored);
  reader.read(rows.data());

  if (reader.depth() == 16) remarks.add("16 bits a sample, of which the high byte is taken", name);
  if (alpha && lay_over_black(values, static_cast<std::size_t>(picture.channels)))
    remarks.add("transparent pictures, laid over black", name);
  if (const std::string warning = reader.warning(); !warning.empty())
    remarks.add("warnings of the PNG decoder, which lost no samples", name + ": " + warning);
  for (std::int64_t y = 0; y < picture.height; ++y)
    scatter_row(values.data() + y * picture.width * picture.channels, y, picture);
  if (reader.orientation() != 1) remarks.add("pictures turned upright, as their EXIF orientation says", name);
  return upright(std::move(picture), reader.orientation());
}

std::vector<std::byte> encode_png(const Picture& picture) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = picture.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  const std::int64_t plane = picture.height * picture.width;
  std::vector<std::uint8_t> rows(picture.pixels.size());
  for (std::int64_t i = 0; i < plane; ++i) {
    for (std::int64_t c = 0; c < picture.channels; ++c) {
      rows[static_cast<std::size_t>(i * picture.channels + c)] =
          picture.pixels[static_cast<std::size_t>(c * plane + i)];
    }
  }
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<std::byte> bytes(size);
  if (png_image_write_to_memory(&image, bytes.data(), &size, 0, rows.data(), 0, nullptr) == 0) {
    fail_run("cannot encode a PNG: {}", image.message);
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace spankey
