#include "base/digest.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif
#include <sodium.h>

#include <bit>
#include <cstring>

#include "base/error.h"

namespace spankey {

static_assert(std::endian::native == std::endian::little, "digests are defined over little-endian bytes");

struct Sha256::State {
  crypto_hash_sha256_state sodium;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  crypto_hash_sha256_init(&state_->sodium);
}

Sha256::~Sha256() = default;

Sha256& Sha256::update(std::span<const std::byte> bytes) {
  crypto_hash_sha256_update(&state_->sodium, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  return *this;
}

Sha256& Sha256::update(std::string_view text) {
  return update(std::as_bytes(std::span(text)));
}

Sha256& Sha256::update_int64(std::int64_t value) {
  return update(std::as_bytes(std::span(&value, 1)));
}

Digest Sha256::finish() {
  Digest digest;
  static_assert(sizeof(digest) == crypto_hash_sha256_BYTES);
  crypto_hash_sha256_final(&state_->sodium, digest.data());
  return digest;
}

Digest sha256(std::span<const std::byte> bytes) {
  return Sha256().update(bytes).finish();
}

Digest sha256(std::string_view text) {
  return Sha256().update(text).finish();
}

std::string to_hex(const Digest& digest) {
  std::string hex;
  hex.reserve(2 * digest.size());
  for (const std::uint8_t byte : digest) fmt::format_to(std::back_inserter(hex), "{:02x}", byte);
  return hex;
}

namespace {

constexpr std::array<std::uint32_t, 256> make_crc32c_table() {
  constexpr std::uint32_t reflected_castagnoli = 0x82F63B78u;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? reflected_castagnoli : 0u);
    table[i] = crc;
  }
  return table;
}

constexpr auto crc32c_table = make_crc32c_table();

}  // namespace

namespace detail {

std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t seed) {
  std::uint32_t crc = ~seed;
  for (const std::byte byte : bytes)
    crc = (crc >> 8) ^ crc32c_table[(crc ^ std::to_integer<std::uint32_t>(byte)) & 255];
  return ~crc;
}

#if defined(__x86_64__)
bool has_crc32c_instruction() {
  static const bool has_sse42 = __builtin_cpu_supports("sse4.2") != 0;
  return has_sse42;
}

__attribute__((target("sse4.2"))) std::uint32_t crc32c_by_instruction(std::span<const std::byte> bytes,
                                                                      std::uint32_t seed) {
  std::uint64_t crc = static_cast<std::uint32_t>(~seed);
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    crc = _mm_crc32_u64(crc, word);
  }
  auto crc_low = static_cast<std::uint32_t>(crc);
  for (; i < bytes.size(); ++i) crc_low = _mm_crc32_u8(crc_low, std::to_integer<std::uint8_t>(bytes[i]));
  return ~crc_low;
}
#else
bool has_crc32c_instruction() {
  return false;
}

std::uint32_t crc32c_by_instruction(std::span<const std::byte> bytes, std::uint32_t seed) {
  return crc32c_portable(bytes, seed);
}
#endif

}  // namespace detail

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed) {
  return detail::has_crc32c_instruction() ? detail::crc32c_by_instruction(bytes, seed)
                                          : detail::crc32c_portable(bytes, seed);
}

}  // namespace spankey
