// JPEG files written with libjpeg, and PNG files written byte by byte, for the tests.
#pragma once

// jpeglib.h needs FILE.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
// clang-format on

#include <zlib.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace spankey::test {

// `rows`: height x width x channels bytes; channels 1 (grey), 3 or 4 (CMYK).
inline std::vector<std::byte> make_jpeg(const std::vector<std::uint8_t>& rows, unsigned width, unsigned height,
                                        int channels) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = width;
  info.image_height = height;
  info.input_components = channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 100, TRUE);
  info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = 1;  // colour at full resolution
  jpeg_start_compress(&info, TRUE);
  for (unsigned y = 0; y < height; ++y) {
    JSAMPROW row = const_cast<JSAMPROW>(rows.data() + std::size_t{y} * width * static_cast<unsigned>(channels));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  const auto bytes = std::as_bytes(std::span(memory, size));
  std::vector<std::byte> result(bytes.begin(), bytes.end());
  std::free(memory);
  return result;
}

inline void append(std::vector<std::uint8_t>& bytes, std::uint32_t value, unsigned count) {
  for (unsigned i = count; i-- > 0;) bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

// PNG specification, 5.3: length, type, data, CRC of type and data.
inline void append_chunk(std::vector<std::uint8_t>& png, const std::string& type,
                         const std::vector<std::uint8_t>& data) {
  append(png, static_cast<std::uint32_t>(data.size()), 4);
  const std::size_t begin = png.size();
  png.insert(png.end(), type.begin(), type.end());
  png.insert(png.end(), data.begin(), data.end());
  append(png, static_cast<std::uint32_t>(crc32(0, png.data() + begin, static_cast<uInt>(png.size() - begin))), 4);
}

struct Chunk {
  std::string type;
  std::vector<std::uint8_t> data;
};

// `scanlines`: as the format stores them, each begun by its filter byte. `extra`: chunks before the samples.
inline std::vector<std::byte> make_png(unsigned width, unsigned height, unsigned depth, unsigned colour,
                                       const std::vector<std::uint8_t>& scanlines, const std::vector<Chunk>& extra = {},
                                       bool interlaced = false) {
  std::vector<std::uint8_t> png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, head;
  append(head, width, 4);
  append(head, height, 4);
  for (const unsigned value : {depth, colour, 0U, 0U, interlaced ? 1U : 0U}) append(head, value, 1);
  append_chunk(png, "IHDR", head);
  for (const Chunk& chunk : extra) append_chunk(png, chunk.type, chunk.data);
  std::vector<std::uint8_t> packed(compressBound(scanlines.size()));
  uLongf size = packed.size();
  compress(packed.data(), &size, scanlines.data(), scanlines.size());
  packed.resize(size);
  append_chunk(png, "IDAT", packed);
  append_chunk(png, "IEND", {});
  const auto bytes = std::as_bytes(std::span(png));
  return {bytes.begin(), bytes.end()};
}

// A TIFF header and a directory of one entry, the orientation; in one byte order or the other.
inline std::vector<std::uint8_t> make_exif(unsigned orientation, bool little) {
  std::vector<std::uint8_t> tiff;
  const auto put = [&](std::uint32_t value, unsigned count) {
    for (unsigned i = 0; i < count; ++i)
      tiff.push_back(static_cast<std::uint8_t>(value >> (8 * (little ? i : count - 1 - i))));
  };
  tiff.assign(2, little ? 'I' : 'M');
  put(42, 2);
  put(8, 4);       // where the directory is
  put(1, 2);       // its entries
  put(0x0112, 2);  // orientation,
  put(3, 2);       // a 16-bit number,
  put(1, 4);       // one of them
  put(orientation, 2);
  put(0, 2);
  put(0, 4);
  return tiff;
}

// With an APP1 marker behind the first two bytes.
inline std::vector<std::byte> with_exif(const std::vector<std::byte>& jpeg, const std::vector<std::uint8_t>& exif) {
  std::vector<std::uint8_t> marker = {0xff, 0xe1};
  append(marker, static_cast<std::uint32_t>(2 + 6 + exif.size()), 2);
  for (const char c : {'E', 'x', 'i', 'f', '\0', '\0'}) marker.push_back(static_cast<std::uint8_t>(c));
  marker.insert(marker.end(), exif.begin(), exif.end());
  const auto bytes = std::as_bytes(std::span(marker));
  std::vector<std::byte> result = jpeg;
  result.insert(result.begin() + 2, bytes.begin(), bytes.end());
  return result;
}

}  // namespace spankey::test
