// SHA-256 (by libsodium) and CRC32C (Castagnoli). CRC32C uses SSE4.2 where the processor has it and a table elsewhere.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace spankey {

using Digest = std::array<std::uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  Sha256& update(std::span<const std::byte> bytes);
  Sha256& update(std::string_view text);
  // Hashes the value as 8 bytes, little-endian.
  Sha256& update_int64(std::int64_t value);
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest sha256(std::span<const std::byte> bytes);
Digest sha256(std::string_view text);
std::string to_hex(const Digest& digest);

// `seed` is the value returned for the preceding bytes, or 0 at the start.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0);

namespace detail {
// `crc32c` chooses between these two implementations. The second needs has_crc32c_instruction() on x86-64, and is the
// first elsewhere. They are declared here for the tests.
bool has_crc32c_instruction();
std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t seed);
std::uint32_t crc32c_by_instruction(std::span<const std::byte> bytes, std::uint32_t seed);
}  // namespace detail

}  // namespace spankey
