#include "base/digest.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace spankey::digest_test {
namespace {

// FIPS 180-2, appendix B.
TEST(Sha256, KnownVectors) {
  EXPECT_EQ(to_hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(sha256(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(to_hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, PiecesEqualTheWhole) {
  EXPECT_EQ(Sha256().update("ab").update("").update("c").finish(), sha256("abc"));
  EXPECT_EQ(Sha256().update_int64(0x0102030405060708).finish(), sha256("\x08\x07\x06\x05\x04\x03\x02\x01"));
  EXPECT_NE(Sha256().update("ab").finish(), sha256("abc"));
}

std::vector<std::byte> repeated(std::byte value, std::size_t count) {
  return std::vector<std::byte>(count, value);
}

std::vector<std::byte> counting(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 7 + (i >> 8));
  return bytes;
}

// RFC 3720, appendix B.4, and the check value of the catalogue of CRC algorithms.
TEST(Crc32c, KnownVectors) {
  EXPECT_EQ(crc32c(repeated(std::byte{0}, 32)), 0x8a9136aau);
  EXPECT_EQ(crc32c(repeated(std::byte{0xff}, 32)), 0x62a8ab43u);
  std::vector<std::byte> ascending;
  for (int i = 0; i < 32; ++i) ascending.push_back(static_cast<std::byte>(i));
  EXPECT_EQ(crc32c(ascending), 0x46dd794eu);
  const std::string digits = "123456789";
  EXPECT_EQ(crc32c(std::as_bytes(std::span(digits))), 0xe3069283u);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(Crc32c, ProcessorInstructionEqualsTable) {
  if (!detail::has_crc32c_instruction()) GTEST_SKIP() << "this processor has no instruction for it";
  const auto bytes = counting(1000);
  for (std::size_t begin : {0, 1, 5}) {
    for (std::size_t count = 0; count < 100; ++count) {
      const auto part = std::span(bytes).subspan(begin, count);
      EXPECT_EQ(detail::crc32c_by_instruction(part, 17), detail::crc32c_portable(part, 17)) << begin << " " << count;
    }
  }
}

TEST(Crc32c, ContinuesFromSeedAndSeesEveryFlippedBit) {
  auto bytes = counting(200);
  const auto whole = crc32c(bytes);
  EXPECT_EQ(crc32c(std::span(bytes).subspan(77), crc32c(std::span(bytes).first(77))), whole);
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_NE(crc32c(bytes), whole);
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

}  // namespace
}  // namespace spankey::digest_test
