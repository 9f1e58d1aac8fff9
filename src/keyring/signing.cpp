#include "keyring/signing.h"

#include <sodium.h>

#include "base/error.h"
#include "base/secret.h"
#include "keyring/sodium_span.h"

namespace spankey {
namespace {

crypto_sign_state hashed(std::span<const std::byte> message) {
  crypto_sign_state state;
  crypto_sign_init(&state);
  crypto_sign_update(&state, raw(message), message.size());
  return state;
}

}  // namespace

SigningKey::SigningKey(std::span<const std::byte> seed) : secret_(crypto_sign_SECRETKEYBYTES) {
  static_assert(sizeof(PublicKey) == crypto_sign_PUBLICKEYBYTES && sizeof(Signature) == crypto_sign_BYTES);
  SPANKEY_CHECK_EQ(seed.size(), std::size_t{crypto_sign_SEEDBYTES});
  crypto_sign_seed_keypair(public_key_.data(), writable(secret_.bytes()), raw(seed));
}

Signature SigningKey::sign(std::span<const std::byte> message, SignatureKind kind) const {
  Signature signature;
  if (kind == SignatureKind::plain) {
    crypto_sign_detached(signature.data(), nullptr, raw(message), message.size(), raw(secret_.bytes()));
  } else {
    auto state = hashed(message);
    crypto_sign_final_create(&state, signature.data(), nullptr, raw(secret_.bytes()));
  }
  return signature;
}

bool verify_signature(std::span<const std::byte> message, const Signature& signature, const PublicKey& signer,
                      SignatureKind kind) {
  start_cryptography();
  if (kind == SignatureKind::plain)
    return crypto_sign_verify_detached(signature.data(), raw(message), message.size(), signer.data()) == 0;
  auto state = hashed(message);
  return crypto_sign_final_verify(&state, signature.data(), signer.data()) == 0;
}

}  // namespace spankey
