#include "data/picture.h"

// jpeglib.h needs FILE.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on
#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <csetjmp>
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

void require_size(std::int64_t height, std::int64_t width, const std::string& name) {
  if (height > largest_side || width > largest_side)
    fail_input("{}: offset 0: expected at most {} pixels a side, found {} x {}", name, largest_side, width, height);
}

Picture make_picture(std::int64_t channels, std::int64_t height, std::int64_t width, const std::string& name) {
  require_size(height, width, name);
  return {channels, height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(channels * height * width))};
}

// Rows of (width, channels) into planes.
void scatter_row(const std::uint8_t* row, std::int64_t y, Picture& picture) {
  for (std::int64_t c = 0; c < picture.channels; ++c) {
    std::uint8_t* plane = picture.pixels.data() + (c * picture.height + y) * picture.width;
    for (std::int64_t x = 0; x < picture.width; ++x) plane[x] = row[x * picture.channels + c];
  }
}

// libjpeg reports through callbacks; `jump` leaves its C frames, none of which holds a C++ object of ours.
struct JpegErrors {
  jpeg_error_mgr base;  // first: libjpeg hands this back
  std::jmp_buf jump;
  std::array<char, JMSG_LENGTH_MAX> message;
};

[[noreturn]] void jpeg_fail(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  info->err->format_message(info, errors->message.data());
  std::longjmp(errors->jump, 1);
}

void jpeg_message(j_common_ptr info, int level) {
  if (level < 0) jpeg_fail(info);  // a warning: the data are damaged
}

class JpegReader {
 public:
  JpegReader(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = jpeg_fail;
    errors_.base.emit_message = jpeg_message;
    if (setjmp(errors_.jump) != 0) fail();
    jpeg_create_decompress(&info_);
    created_ = true;
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  }
  ~JpegReader() {
    if (created_) jpeg_destroy_decompress(&info_);
  }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Sizes are known after this.
  void start() {
    if (setjmp(errors_.jump) != 0) fail();
    jpeg_read_header(&info_, TRUE);
    require_size(info_.image_height, info_.image_width, name_);  // a progressive one is read whole by the next call
    info_.out_color_space = info_.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&info_);
  }
  void read_row(std::uint8_t* row) {
    if (setjmp(errors_.jump) != 0) fail();
    jpeg_read_scanlines(&info_, &row, 1);
  }
  void finish() {
    if (setjmp(errors_.jump) != 0) fail();
    jpeg_finish_decompress(&info_);
  }
  const jpeg_decompress_struct& info() const { return info_; }

 private:
  [[noreturn]] void fail() const {
    // The decoder moves on in units of a block; only at the end of the file is the place known to the byte.
    const bool at_end = errors_.base.msg_code == JWRN_JPEG_EOF;
    const std::size_t left = at_end || info_.src == nullptr ? 0 : std::min(info_.src->bytes_in_buffer, bytes_.size());
    fail_input("{}: offset {}: expected intact JPEG data: {}", name_, bytes_.size() - left, errors_.message.data());
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
  JpegErrors errors_{};
  jpeg_decompress_struct info_{};
  bool created_ = false;
};

Picture decode_jpeg(std::span<const std::byte> bytes, const std::string& name) {
  JpegReader reader(bytes, name);
  reader.start();
  const auto& info = reader.info();
  Picture picture = make_picture(info.output_components, info.output_height, info.output_width, name);
  std::vector<std::uint8_t> row(static_cast<std::size_t>(picture.width * picture.channels));
  for (std::int64_t y = 0; y < picture.height; ++y) {
    reader.read_row(row.data());
    scatter_row(row.data(), y, picture);
  }
  reader.finish();
  return picture;
}

std::uint32_t big_endian_32(std::span<const std::byte> bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<std::uint32_t>(bytes[i]);
  return value;
}

// Walks the chunks (length, type, data, CRC) up to IEND: libpng would not say where the damage is.
void check_png_chunks(std::span<const std::byte> bytes, const std::string& name) {
  for (std::size_t at = png_signature.size();;) {
    const std::size_t left = bytes.size() - at;
    const std::size_t needed = left < 12 ? 12 : 12 + std::size_t{big_endian_32(bytes.subspan(at))};
    if (left < needed) {
      fail_input("{}: offset {}: expected a PNG chunk of {} bytes, found {}: truncated", name, at, needed, left);
    }
    const auto body = bytes.subspan(at + 4, needed - 8);
    const auto expected = big_endian_32(bytes.subspan(at + needed - 4));
    const auto found = static_cast<std::uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size())));
    if (found != expected) {
      fail_input("{}: offset {}: expected a PNG chunk with the CRC {:08x}, found {:08x}: damaged", name, at, expected,
                 found);
    }
    if (std::memcmp(body.data(), "IEND", 4) == 0) return;
    at += needed;
  }
}

Picture decode_png(std::span<const std::byte> bytes, const std::string& name) {
  check_png_chunks(bytes, name);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const auto fail = [&] {
    const std::string message = image.message;
    png_image_free(&image);
    fail_input("{}: offset {}: expected intact PNG data: {}", name, png_signature.size(), message);
  };
  if (png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) == 0) fail();
  const bool colour = (image.format & PNG_FORMAT_FLAG_COLOR) != 0;
  image.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  Picture picture = make_picture(colour ? 3 : 1, image.height, image.width, name);
  std::vector<std::uint8_t> rows(picture.pixels.size());
  const png_color black{};
  if (png_image_finish_read(&image, &black, rows.data(), 0, nullptr) == 0) fail();
  for (std::int64_t y = 0; y < picture.height; ++y) {
    scatter_row(rows.data() + y * picture.width * picture.channels, y, picture);
  }
  return picture;
}

}  // namespace

bool has_picture_name(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

Picture decode_picture(std::span<const std::byte> bytes, const std::string& name) {
  if (starts_with(bytes, png_signature)) return decode_png(bytes, name);
  if (starts_with(bytes, jpeg_signature)) return decode_jpeg(bytes, name);
  fail_input("{}: offset 0: expected a JPEG (ff d8 ff) or PNG (89 50 4e 47) signature", name);
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
