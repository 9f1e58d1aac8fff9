// JPEG files written with libjpeg, for the tests.
#pragma once

// jpeglib.h needs FILE.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
// clang-format on

#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

namespace spankey::test {

// `rows`: height x width x channels bytes; channels 1 (grey) or 3.
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
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
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

}  // namespace spankey::test
