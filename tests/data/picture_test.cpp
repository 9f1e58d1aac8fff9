#include "data/picture.h"

#include <zlib.h>

#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

using Bytes = std::vector<std::uint8_t>;

Bytes pixels_of(const std::vector<std::byte>& png, std::vector<std::string>* told = nullptr) {
  Remarks remarks;
  const Picture picture = decode_picture(png, "a.png", remarks);
  if (told != nullptr) *told = remarks.sentences();
  return picture.pixels;
}

constexpr unsigned grey = 0, rgb = 2, palette = 3, grey_alpha = 4, rgb_alpha = 6;  // colour types of PNG

// Values worked out by hand from the PNG specification; of 1, 2 and 4 bits of grey 255, 85 and 17 a step.
TEST(Picture, SamplesOfPngAreThoseStored) {
  EXPECT_EQ(pixels_of(test::make_png(8, 1, 1, grey, {0, 0b10110001})), (Bytes{255, 0, 255, 255, 0, 0, 0, 255}));
  EXPECT_EQ(pixels_of(test::make_png(4, 1, 2, grey, {0, 0b00011011})), (Bytes{0, 85, 170, 255}));
  EXPECT_EQ(pixels_of(test::make_png(3, 1, 4, grey, {0, 0x0f, 0x20})), (Bytes{0, 255, 34}));
  EXPECT_EQ(pixels_of(test::make_png(3, 1, 8, grey, {0, 7, 128, 250})), (Bytes{7, 128, 250}));
  EXPECT_EQ(pixels_of(test::make_png(2, 1, 8, rgb, {0, 1, 2, 3, 4, 5, 6})), (Bytes{1, 4, 2, 5, 3, 6}));
  const test::Chunk colours{"PLTE", {10, 20, 30, 11, 21, 31, 12, 22, 32}};
  for (const auto& [depth, packed] :
       {std::pair(2U, Bytes{0, 0b10000100}), std::pair(4U, Bytes{0, 0x20, 0x10}), std::pair(8U, Bytes{0, 2, 0, 1})}) {
    EXPECT_EQ(pixels_of(test::make_png(3, 1, depth, palette, packed, {colours})),
              (Bytes{12, 10, 11, 22, 20, 21, 32, 30, 31}))
        << depth;
  }
}

// The low byte never rounds the high one up, and the import says so once.
TEST(Picture, OfSixteenBitsTheHighByteIsTaken) {
  std::vector<std::string> told;
  EXPECT_EQ(pixels_of(test::make_png(3, 1, 16, grey, {0, 0x12, 0xff, 0x80, 0x80, 0x00, 0xfe}), &told),
            (Bytes{0x12, 0x80, 0}));
  EXPECT_THAT(told, testing::ElementsAre("16 bits a sample, of which the high byte is taken: 1, the first a.png"));
  EXPECT_EQ(pixels_of(test::make_png(1, 1, 16, rgb, {0, 1, 0xff, 2, 0xff, 3, 0xff})), (Bytes{1, 2, 3}));
}

// gAMA of a linear picture, cHRM far from sRGB, sRGB: what colour the samples mean does not change what they are.
TEST(Picture, ColourChunksOfPngChangeNoSample) {
  Bytes wide;
  for (const std::uint32_t value : {31270U, 32900U, 70000U, 20000U, 10000U, 80000U, 14000U, 5000U})
    test::append(wide, value, 4);
  const test::Chunk linear{"gAMA", {0, 1, 0x86, 0xa0}}, chromaticities{"cHRM", wide}, srgb{"sRGB", {0}};
  const Bytes values{0, 1, 60, 128, 200, 254, 33};
  for (const auto& chunks : {std::vector{linear}, std::vector{linear, chromaticities}, std::vector{srgb}}) {
    EXPECT_EQ(pixels_of(test::make_png(6, 1, 8, grey, values, chunks)), (Bytes{1, 60, 128, 200, 254, 33}));
    EXPECT_EQ(pixels_of(test::make_png(2, 1, 8, rgb, values, chunks)), (Bytes{1, 200, 60, 254, 128, 33}));
    EXPECT_EQ(pixels_of(test::make_png(1, 1, 8, grey_alpha, {0, 200, 128}, chunks)), (Bytes{100}));
  }
}

// round(sample alpha / 255), whatever way the file says what is transparent; told, but not of pixels that all cover.
TEST(Picture, TransparencyIsLaidOverBlackAndTold) {
  const test::Chunk colours{"PLTE", {10, 20, 30, 200, 100, 50}};
  struct Case {
    std::vector<std::byte> clear, opaque;
    Bytes expected;
  };
  const Case cases[] = {
      {test::make_png(2, 1, 8, grey_alpha, {0, 200, 51, 90, 255}),
       test::make_png(2, 1, 8, grey_alpha, {0, 40, 255, 90, 255}),
       {40, 90}},
      {test::make_png(2, 1, 16, grey_alpha, {0, 200, 1, 51, 1, 90, 1, 255, 1}), {}, {40, 90}},
      {test::make_png(1, 1, 8, rgb_alpha, {0, 200, 100, 50, 51}),
       test::make_png(1, 1, 8, rgb_alpha, {0, 40, 20, 10, 255}),
       {40, 20, 10}},
      {test::make_png(1, 1, 8, palette, {0, 1}, {colours, {"tRNS", {255, 51}}}),
       test::make_png(1, 1, 8, palette, {0, 0}, {{"PLTE", {40, 20, 10, 0, 0, 0}}, {"tRNS", {255, 51}}}),
       {40, 20, 10}},
      {test::make_png(2, 1, 8, grey, {0, 77, 90}, {{"tRNS", {0, 77}}}),
       test::make_png(2, 1, 8, grey, {0, 0, 90}, {{"tRNS", {0, 77}}}),
       {0, 90}},
      {test::make_png(1, 1, 8, rgb, {0, 1, 2, 3}, {{"tRNS", {0, 1, 0, 2, 0, 3}}}), {}, {0, 0, 0}},
  };
  for (const Case& one : cases) {
    std::vector<std::string> told;
    EXPECT_EQ(pixels_of(one.clear, &told), one.expected);
    ASSERT_FALSE(told.empty());
    EXPECT_EQ(told.back(), "transparent pictures, laid over black: 1, the first a.png");
    if (one.opaque.empty()) continue;
    EXPECT_EQ(pixels_of(one.opaque, &told), one.expected);
    EXPECT_THAT(told, testing::IsEmpty());
  }
}

// Adam7 of 3 x 3 pixels 1 to 9 (PNG specification, 8.2): pass 1 holds (0, 0), pass 4 (2, 0), pass 5 row 2 column 0 and
// 2, pass 6 column 1 of rows 0 and 2, pass 7 row 1.
TEST(Picture, InterlacedPngIsPutTogether) {
  EXPECT_EQ(pixels_of(test::make_png(3, 3, 8, grey, {0, 1, 0, 3, 0, 7, 9, 0, 2, 0, 8, 0, 4, 5, 6}, {}, true)),
            (Bytes{1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

// What each orientation looks like, drawn by hand from the table of the EXIF specification.
TEST(Picture, OrientationOfExifIsObservedAndTold) {
  const Bytes seen[] = {{1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1}, {4, 5, 6, 1, 2, 3},
                        {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3}, {6, 3, 5, 2, 4, 1}, {3, 6, 2, 5, 1, 4}};
  for (unsigned orientation = 1; orientation <= 8; ++orientation) {
    for (const bool little : {false, true}) {
      const auto exif = test::make_exif(orientation, little);
      Remarks remarks;
      const auto png = test::make_png(3, 2, 8, grey, {0, 1, 2, 3, 0, 4, 5, 6}, {{"eXIf", exif}});
      const Picture picture = decode_picture(png, "a.png", remarks);
      EXPECT_EQ(picture.pixels, seen[orientation - 1]) << orientation;
      EXPECT_EQ(picture.height, orientation < 5 ? 2 : 3);
      const auto jpeg = test::with_exif(test::make_jpeg({0, 90, 180, 0, 90, 180}, 3, 2, 1), exif);
      const Picture photo = decode_picture(jpeg, "a.jpg", remarks);
      EXPECT_EQ(photo.width, orientation < 5 ? 3 : 2);
      EXPECT_NEAR(photo.pixels[0], seen[orientation - 1][0] % 3 == 0 ? 180 : 0, 3) << orientation;
      if (orientation == 1)
        EXPECT_THAT(remarks.sentences(), testing::IsEmpty());
      else
        EXPECT_THAT(
            remarks.sentences(),
            testing::ElementsAre("pictures turned upright, as their EXIF orientation says: 2, the first a.png"));
    }
  }
  auto damaged = test::make_exif(6, true);
  damaged[4] = 200;  // a directory beyond the end
  const auto jpeg = test::make_jpeg({0, 90, 180, 0, 90, 180}, 3, 2, 1);
  for (const auto& exif : {damaged, test::make_exif(9, false), Bytes{'I', 'I'}, Bytes{}})
    EXPECT_EQ(decode_picture(test::with_exif(jpeg, exif), "a.jpg").width, 3);
}

TEST(Picture, CmykIsRefusedByName) {
  EXPECT_ERROR(
      decode_picture(test::make_jpeg(Bytes(4 * 6, 100), 3, 2, 4), "a.jpg"), ExitCode::bad_input,
      "a.jpg: offset 0: expected a JPEG of 1 (grey) or 3 (colour) components, found 4 (CMYK, for print: convert "
      "it to RGB)");
}

// Bytes too many before the end mark, and no end mark: every sample is there.
TEST(Picture, WarningsThatLoseNothingAreTold) {
  Bytes noise(64 * 64);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<std::uint8_t>(i * i * 31);
  const auto jpeg = test::make_jpeg(noise, 64, 64, 1);
  const auto whole = decode_picture(jpeg, "a.jpg").pixels;
  auto longer = jpeg;
  longer.insert(longer.end() - 2, 20, std::byte{0});
  for (const auto& bytes : {longer, std::vector(jpeg.begin(), jpeg.end() - 2)}) {
    Remarks remarks;
    EXPECT_EQ(decode_picture(bytes, "a.jpg", remarks).pixels, whole);
    EXPECT_THAT(
        remarks.sentences(),
        testing::ElementsAre(StartsWith("warnings of the JPEG decoder, which lost no samples: 1, the first a.jpg: ")));
  }
  // A text chunk with a wrong checksum.
  auto png = test::make_png(2, 1, 8, grey, {0, 5, 6}, {{"tEXt", {'a', 0, 'b'}}});
  png[8 + 25 + 8] ^= std::byte{1};
  std::vector<std::string> told;
  EXPECT_EQ(pixels_of(png, &told), (Bytes{5, 6}));
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0], "damaged PNG chunks without samples, left out: 1, the first a.png: offset 33");
}

// Negative control of the above: each of these loses samples.
TEST(Picture, DamageThatLosesSamplesIsNoWarning) {
  Bytes noise(64 * 64);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<std::uint8_t>(i * i * 31);
  const auto jpeg = test::make_jpeg(noise, 64, 64, 1);
  for (const std::size_t missing : {3U, 6U, 20U, 200U})
    EXPECT_ERROR(decode_picture(std::span(jpeg).first(jpeg.size() - missing), "a.jpg"), ExitCode::bad_input,
                 HasSubstr("expected intact JPEG data"));
  auto png = test::make_png(1, 1, 8, palette, {0, 0}, {{"PLTE", {1, 2, 3}}, {"tRNS", {9}}});
  png[8 + 25 + 15 + 8] ^= std::byte{1};  // the only byte of tRNS
  EXPECT_ERROR(decode_picture(png, "a.png"), ExitCode::bad_input, HasSubstr("damaged"));
}

TEST(Picture, AnotherFormatThanTheNameSaysIsTold) {
  Remarks remarks;
  decode_picture(encode_png(gradient(1, 5, 9)), "a.JPG", remarks);
  decode_picture(encode_png(gradient(1, 5, 9)), "b.jpeg", remarks);
  decode_picture(test::make_jpeg(Bytes(6, 40), 3, 2, 1), "c.png", remarks);
  decode_picture(test::make_jpeg(Bytes(6, 40), 3, 2, 1), "d.jpeg", remarks);
  EXPECT_THAT(remarks.sentences(), testing::ElementsAre("PNG under a name of JPEG: 2, the first a.JPG",
                                                        "JPEG under a name of PNG: 1, the first c.png"));
}

TEST(Picture, DamagedPngSaysWhere) {
  const auto png = encode_png(gradient(1, 5, 9));
  // 8 bytes of signature, 25 of IHDR, then what says nothing of samples, then IDAT.
  const auto text = std::string_view(reinterpret_cast<const char*>(png.data()), png.size());
  const auto idat = text.find("IDAT") - 4;
  auto damaged = png;
  damaged[idat + 12] ^= std::byte{1};
  EXPECT_ERROR(decode_picture(damaged, "a.png"), ExitCode::bad_input,
               AllOf(StartsWith(fmt::format("a.png: offset {}: expected a PNG chunk with the CRC ", idat)),
                     HasSubstr("damaged")));
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
