// Ed25519 signatures (RFC 8032, by libsodium). A large message is signed by its hash (Ed25519ph), which is another
// signature than that of the message itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "keyring/secret_bytes.h"

namespace spankey {

using PublicKey = std::array<std::uint8_t, 32>;
using Signature = std::array<std::uint8_t, 64>;

enum class SignatureKind { plain, prehashed };

class SigningKey {
 public:
  // `seed`: 32 secret bytes, of which the key pair is a function.
  explicit SigningKey(std::span<const std::byte> seed);

  const PublicKey& public_key() const { return public_key_; }
  Signature sign(std::span<const std::byte> message, SignatureKind kind = SignatureKind::plain) const;

 private:
  SecretBytes secret_;
  PublicKey public_key_{};
};

bool verify_signature(std::span<const std::byte> message, const Signature& signature, const PublicKey& signer,
                      SignatureKind kind = SignatureKind::plain);

}  // namespace spankey
