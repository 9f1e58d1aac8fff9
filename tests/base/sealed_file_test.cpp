#include "base/sealed_file.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "support/expect_error.h"

namespace spankey::sealed_file_test {
namespace {

using testing::HasSubstr;

std::vector<std::byte> sealed(std::size_t size) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < size; ++i) bytes.push_back(static_cast<std::byte>(7 * i % 251));
  append_footer(bytes);
  return bytes;
}

TEST(SealedFile, TheImageComesBackWithoutItsFooter) {
  for (const std::size_t size : {0, 1, 1000}) {
    const auto bytes = sealed(size);
    EXPECT_EQ(bytes.size(), size + footer_bytes);
    const auto image = checked_image(bytes, "memory");
    EXPECT_EQ(image.size(), size);
    EXPECT_EQ(image.data(), bytes.data());
  }
}

TEST(SealedFile, AnyFlippedBitIsFound) {
  const auto good = sealed(100);
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    auto bad = good;
    bad[bit / 8] ^= std::byte(1U << (bit % 8));
    EXPECT_ERROR(checked_image(bad, "flipped"), ExitCode::bad_input, HasSubstr("flipped: "));
  }
}

TEST(SealedFile, SaysWhatIsWrong) {
  auto bytes = sealed(100);
  const auto whole = std::span<const std::byte>(bytes);
  EXPECT_ERROR(checked_image(whole.first(19), "short"), ExitCode::bad_input, HasSubstr("short: 19 bytes, too short"));
  EXPECT_ERROR(checked_image(whole.first(60), "cut"), ExitCode::bad_input,
               HasSubstr("no checksum footer at offset 40"));
  EXPECT_ERROR(checked_image(whole.subspan(1), "late"), ExitCode::bad_input,
               HasSubstr("the footer tells of 100 bytes, the file has 99"));
  bytes[50] ^= std::byte{1};
  EXPECT_ERROR(checked_image(bytes, "damaged"), ExitCode::bad_input, HasSubstr("the file is damaged"));
}

}  // namespace
}  // namespace spankey::sealed_file_test
