// Encryption of what key files hold. XChaCha20-Poly1305 with additional data under a key that comes from a passphrase
// by Argon2id (RFC 9106) or from another secret, and libsodium's sealed boxes to a person's X25519 key.
#pragma once

#include <nlohmann/json.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "keyring/header_fields.h"
#include "keyring/secret_bytes.h"

namespace spankey {

// What Argon2id costs whoever tries passphrases.
struct Argon2Cost {
  std::int64_t passes = 3;
  std::int64_t memory_bytes = std::int64_t{256} << 20;
};
inline constexpr Argon2Cost moderate_cost{};  // libsodium's MODERATE: 2 to 3 s
inline constexpr std::int64_t most_argon2_passes = 16;
inline constexpr std::int64_t most_argon2_memory_bytes = std::int64_t{1} << 30;

// How a key follows from a passphrase, as the header of a file tells it.
struct PassphraseLaw {
  Argon2Cost cost;
  std::array<std::uint8_t, 16> salt{};

  static PassphraseLaw fresh(const Argon2Cost& cost);  // with a salt of its own
  nlohmann::json to_json() const;
  // Reads the field "argon2" and refuses costs beyond the limits above before any memory is taken.
  static PassphraseLaw read(HeaderFields& header, const std::string& name);
  // Returns a key of 32 bytes. Throws Error(run_failed) where there is not so much memory.
  SecretBytes key(const SecretBytes& passphrase) const;
};

using Nonce = std::array<std::uint8_t, 24>;
Nonce fresh_nonce();
inline constexpr std::size_t seal_bytes = 16;  // that a seal is longer than what it holds

// Returns the sealed secret. `key` has 32 bytes.
std::vector<std::byte> seal(std::span<const std::byte> secret, std::span<const std::byte> additional,
                            const Nonce& nonce, const SecretBytes& key);
// Returns nullopt where the key is another one, or anything has been changed.
std::optional<SecretBytes> unseal(std::span<const std::byte> sealed, std::span<const std::byte> additional,
                                  const Nonce& nonce, const SecretBytes& key);

// A key of 32 bytes for one purpose, a function of `master` (32 bytes), `number` and `context` (8 characters)
// (crypto_kdf, BLAKE2b).
SecretBytes derived_key(const SecretBytes& master, std::uint64_t number, const char (&context)[9]);

}  // namespace spankey
