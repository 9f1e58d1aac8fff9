#include "data/picture.h"

#include <zlib.h>

#include <cmath>

#include "base/file.h"
#include "data/contact_sheet.h"
#include "data/make_data.h"
#include "data/pictures.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::picture_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

Picture gradient(std::int64_t channels, std::int64_t height, std::int64_t width) {
  Picture picture{channels, height, width, {}};
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x)
        picture.pixels.push_back(static_cast<std::uint8_t>(50 * c + 6 * y + 3 * x));
    }
  }
  return picture;
}

TEST(Picture, PngRoundTripIsExact) {
  for (const std::int64_t channels : {1, 3}) {
    const Picture made = gradient(channels, 5, 9);
    const Picture read = decode_picture(encode_png(made), "a.png");
    EXPECT_EQ(read.channels, channels);
    EXPECT_EQ(read.height, 5);
    EXPECT_EQ(read.width, 9);
    EXPECT_EQ(read.pixels, made.pixels);
  }
}

TEST(Picture, JpegIsCloseToWhatWasWritten) {
  for (const std::int64_t channels : {1, 3}) {
    const Picture made = gradient(channels, 16, 12);
    std::vector<std::uint8_t> rows;
    for (std::int64_t i = 0; i < 16 * 12; ++i) {
      for (std::int64_t c = 0; c < channels; ++c)
        rows.push_back(made.pixels[static_cast<std::size_t>(c * 16 * 12 + i)]);
    }
    const Picture read = decode_picture(test::make_jpeg(rows, 12, 16, static_cast<int>(channels)), "a.jpg");
    ASSERT_EQ(read.channels, channels);
    ASSERT_EQ(read.height, 16);
    ASSERT_EQ(read.width, 12);
    for (std::size_t i = 0; i < made.pixels.size(); ++i) EXPECT_NEAR(read.pixels[i], made.pixels[i], 3) << i;
  }
}

TEST(Picture, DamagedPngSaysWhere) {
  const auto png = encode_png(gradient(1, 5, 9));
  // 8 bytes of signature, 25 of IHDR, then IDAT.
  auto damaged = png;
  damaged[45] ^= std::byte{1};
  EXPECT_ERROR(decode_picture(damaged, "a.png"), ExitCode::bad_input,
               AllOf(StartsWith("a.png: offset 33: expected a PNG chunk with the CRC "), HasSubstr("damaged")));
  EXPECT_ERROR(
      decode_picture(std::span(png).first(40), "a.png"), ExitCode::bad_input,
      AllOf(StartsWith("a.png: offset 33: expected a PNG chunk of 12 bytes, found 7"), HasSubstr("truncated")));
  EXPECT_ERROR(decode_picture(std::span(png).first(png.size() - 12), "a.png"), ExitCode::bad_input,
               fmt::format("a.png: offset {}: expected a PNG chunk of 12 bytes, found 0: truncated", png.size() - 12));
  // A pixel stream that ends early, every checksum right: width 9 becomes 200.
  auto wide = png;
  wide[19] = std::byte{200};
  const auto crc = static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(wide.data() + 12), 17));
  for (std::size_t i = 0; i < 4; ++i) wide[29 + i] = static_cast<std::byte>(crc >> (24 - 8 * i));
  EXPECT_ERROR(decode_picture(wide, "a.png"), ExitCode::bad_input,
               StartsWith("a.png: offset 8: expected intact PNG data"));
}

TEST(Picture, DamagedJpegSaysWhere) {
  std::vector<std::uint8_t> noise(64 * 64);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<std::uint8_t>(i * i * 31);
  const auto jpeg = test::make_jpeg(noise, 64, 64, 1);
  const auto cut = jpeg.size() / 2;
  EXPECT_ERROR(decode_picture(std::span(jpeg).first(cut), "a.jpg"), ExitCode::bad_input,
               fmt::format("a.jpg: offset {}: expected intact JPEG data: Premature end of JPEG file", cut));
  auto damaged = jpeg;
  for (std::size_t i = 0; i < 8; ++i) damaged[cut + i] = std::byte{0xff};
  EXPECT_ERROR(decode_picture(damaged, "a.jpg"), ExitCode::bad_input,
               AllOf(StartsWith("a.jpg: offset "), HasSubstr(": expected intact JPEG data: ")));
}

TEST(Picture, OtherFilesAreRefused) {
  EXPECT_ERROR(decode_picture(std::as_bytes(std::span("GIF89a")), "a.png"), ExitCode::bad_input,
               "a.png: offset 0: expected a JPEG (ff d8 ff) or PNG (89 50 4e 47) signature");
  EXPECT_ERROR(decode_picture({}, "a.png"), ExitCode::bad_input, StartsWith("a.png: offset 0: expected a JPEG"));
  EXPECT_TRUE(has_picture_name("x/a.JPeG"));
  EXPECT_TRUE(has_picture_name("a.png"));
  EXPECT_FALSE(has_picture_name("a.txt"));
}

TEST(ContactSheet, ShowsOneRowPerClass) {
  const test::TemporaryFolder folder;
  const auto data = test::make_image_data(10, 1, {3, 4, 6}, /*classes=*/2);
  contact_sheet_png(*data, folder / "sheet.png");
  const Picture sheet = decode_picture(read_bytes(folder / "sheet.png"), "sheet.png");
  EXPECT_EQ(sheet.channels, 3);
  EXPECT_EQ(sheet.height, 2 * (4 + 1) + 1);
  EXPECT_EQ(sheet.width, 16 * (6 + 1) + 1);
  const auto pixel = [&](std::int64_t c, std::int64_t y, std::int64_t x) {
    return sheet.pixels[static_cast<std::size_t>((c * sheet.height + y) * sheet.width + x)];
  };
  // Sample 5 is the third of class 1: second row, third column.
  const auto* image = data->train().images.data() + 5 * 3 * 4 * 6;
  for (std::int64_t c = 0; c < 3; ++c) {
    for (std::int64_t i = 0; i < 24; ++i) EXPECT_EQ(pixel(c, 6 + i / 6, 15 + i % 6), image[c * 24 + i]);
  }
  EXPECT_EQ(pixel(0, 0, 0), 96);
  EXPECT_EQ(pixel(0, 7, 5 * 7 + 3), 96);  // class 1 has five samples: the sixth field is empty
}

TEST(ContactSheet, NeedsImages) {
  const auto features = Dataset::in_memory(test::make_feature_content(4, 2, 3));
  EXPECT_ERROR(contact_sheet_png(*features, "/nowhere/a.png"), ExitCode::bad_input, HasSubstr("features"));
  EXPECT_ERROR(contact_sheet_png(*test::make_image_data(3, 1, {2, 4, 4}), "/nowhere/a.png"), ExitCode::bad_input,
               HasSubstr("these have 2"));
}

}  // namespace
}  // namespace spankey::picture_test
