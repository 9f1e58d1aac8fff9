// jpeglib.h needs FILE.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

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

// libjpeg reports through callbacks. `jump` leaves its C frames, none of which holds a C++ object of ours.
struct JpegErrors {
  jpeg_error_mgr base;  // must be first, because libjpeg returns a pointer to it
  std::jmp_buf jump;
  std::array<char, JMSG_LENGTH_MAX> message;  // of the error, or of the first warning
  bool ended_early;                           // the file ended before the picture was said to be complete
  int most_left_over;                         // bytes behind the samples that do not speak against them
};

[[noreturn]] void jpeg_fail(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  // Errors after the end of the file are only consequences of that end, which is the message to give.
  if (errors->ended_early) errors->base.msg_code = JWRN_JPEG_EOF;
  info->err->format_message(info, errors->message.data());
  std::longjmp(errors->jump, 1);
}

// Samples are lost, and the decoder goes on with values that it makes up. Many bytes left over after the samples mean
// that it lost its position among them.
bool loses_samples(const JpegErrors& errors) {
  const int code = errors.base.msg_code;
  if (code == JWRN_EXTRANEOUS_DATA) {
    const int left_over = errors.base.msg_parm.i[0], marker = errors.base.msg_parm.i[1];
    return marker >= JPEG_RST0 && marker <= JPEG_EOI && left_over > errors.most_left_over;
  }
  return code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_ARITH_BAD_CODE ||
         code == JWRN_MUST_RESYNC;
}

void jpeg_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  if (loses_samples(*errors)) jpeg_fail(info);
  if (errors->base.msg_code == JWRN_JPEG_EOF) errors->ended_early = true;
  if (errors->base.num_warnings++ == 0) info->err->format_message(info, errors->message.data());
}

// Formats that libjpeg does not read although the file may be intact.
bool is_unsupported(int code) {
  constexpr std::array codes = {JERR_SOF_UNSUPPORTED,     JERR_BAD_PRECISION,   JERR_CONVERSION_NOTIMPL,
                                JERR_ARITH_NOTIMPL,       JERR_COMPONENT_COUNT, JERR_CCIR601_NOTIMPL,
                                JERR_FRACT_SAMPLE_NOTIMPL};
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

class JpegReader {
 public:
  JpegReader(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = jpeg_fail;
    errors_.base.emit_message = jpeg_message;
    errors_.most_left_over = static_cast<int>(std::clamp<std::size_t>(bytes.size() / 32, 64, 1 << 20));
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

  // Sizes are known after these two, the samples of a progressive one as well.
  void read_header() {
    if (setjmp(errors_.jump) != 0) fail();
    constexpr unsigned longest_marker = 0xffff;
    jpeg_save_markers(&info_, JPEG_APP0 + 1, longest_marker);
    jpeg_read_header(&info_, TRUE);
  }
  void start() {
    if (setjmp(errors_.jump) != 0) fail();
    info_.out_color_space = info_.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&info_);
    // The decoder forgets both when it has finished.
    several_scans_ = jpeg_has_multiple_scans(&info_) != FALSE;
    orientation_ = find_orientation();
  }
  void read_row(std::uint8_t* row) {
    if (setjmp(errors_.jump) != 0) fail();
    jpeg_read_scanlines(&info_, &row, 1);
  }
  void finish() {
    if (setjmp(errors_.jump) != 0) fail();
    jpeg_finish_decompress(&info_);
    // The scans that would have refined it are missing. A single scan held every sample, so only the end mark is
    // missing.
    if (errors_.ended_early && several_scans_) jpeg_fail(reinterpret_cast<j_common_ptr>(&info_));
  }

  const jpeg_decompress_struct& info() const { return info_; }
  // The first warning, or "".
  std::string warning() const { return errors_.base.num_warnings > 0 ? errors_.message.data() : ""; }
  int orientation() const { return orientation_; }

 private:
  int find_orientation() const {
    constexpr std::string_view exif("Exif\0\0", 6);
    for (auto marker = info_.marker_list; marker != nullptr; marker = marker->next)
      if (marker->data_length > exif.size() && std::memcmp(marker->data, exif.data(), exif.size()) == 0)
        return exif_orientation(std::as_bytes(std::span(marker->data, marker->data_length)).subspan(exif.size()));
    return 1;
  }
  [[noreturn]] void fail() const {
    const int code = errors_.base.msg_code;
    if (is_unsupported(code))
      fail_input("{}: offset 0: expected a JPEG of 8-bit grey or colour samples: {}", name_, errors_.message.data());
    // The decoder advances in units of a block. The place is known to the byte only at the end of the file.
    const bool at_end = code == JWRN_JPEG_EOF;
    const std::size_t left = at_end || info_.src == nullptr ? 0 : std::min(info_.src->bytes_in_buffer, bytes_.size());
    fail_input("{}: offset {}: expected intact JPEG data: {}", name_, bytes_.size() - left, errors_.message.data());
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
  JpegErrors errors_{};
  jpeg_decompress_struct info_{};
  bool created_ = false, several_scans_ = false;
  int orientation_ = 1;
};

void require_known_colours(const jpeg_decompress_struct& info, const std::string& name) {
  if (info.num_components == 1 || info.num_components == 3) return;
  const bool print = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  fail_input("{}: offset 0: expected a JPEG of 1 (grey) or 3 (colour) components, found {}{}", name,
             info.num_components, print ? " (CMYK, for print: convert it to RGB)" : "");
}

}  // namespace

Picture decode_jpeg(std::span<const std::byte> bytes, const std::string& name, Remarks& remarks) {
  JpegReader reader(bytes, name);
  reader.read_header();
  const auto& info = reader.info();
  require_known_colours(info, name);
  Picture picture = blank_picture(info.num_components, info.image_height, info.image_width, name);
  reader.start();
  std::vector<std::uint8_t> row(static_cast<std::size_t>(picture.width * picture.channels));
  for (std::int64_t y = 0; y < picture.height; ++y) {
    reader.read_row(row.data());
    scatter_row(row.data(), y, picture);
  }
  reader.finish();
  if (const std::string warning = reader.warning(); !warning.empty())
    remarks.add("warnings of the JPEG decoder, which lost no samples", name + ": " + warning);
  if (reader.orientation() != 1) remarks.add("pictures turned upright, as their EXIF orientation says", name);
  return upright(std::move(picture), reader.orientation());
}

}  // namespace spankey
