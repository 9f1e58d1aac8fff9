#include "keyring/sealing.h"

#include <sodium.h>

#include "base/error.h"
#include "base/secret.h"
#include "keyring/sodium_span.h"

namespace spankey {

static_assert(sizeof(PassphraseLaw::salt) == crypto_pwhash_SALTBYTES);
static_assert(sizeof(Nonce) == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
static_assert(seal_bytes == crypto_aead_xchacha20poly1305_ietf_ABYTES);

PassphraseLaw PassphraseLaw::fresh(const Argon2Cost& cost) {
  start_cryptography();
  PassphraseLaw law{.cost = cost};
  randombytes_buf(law.salt.data(), law.salt.size());
  return law;
}

nlohmann::json PassphraseLaw::to_json() const {
  return {{"passes", cost.passes}, {"memory_bytes", cost.memory_bytes}, {"salt", hex_text(salt)}};
}

PassphraseLaw PassphraseLaw::read(HeaderFields& header, const std::string& name) {
  HeaderFields fields(header.any("argon2"), name);
  PassphraseLaw law;
  law.cost.passes = fields.integer("passes", crypto_pwhash_OPSLIMIT_MIN, most_argon2_passes);
  law.cost.memory_bytes = fields.integer("memory_bytes", crypto_pwhash_MEMLIMIT_MIN, most_argon2_memory_bytes);
  fields.bytes("salt", law.salt);
  fields.require_no_others();
  return law;
}

SecretBytes PassphraseLaw::key(const SecretBytes& passphrase) const {
  SecretBytes key(crypto_aead_xchacha20poly1305_ietf_KEYBYTES);
  if (crypto_pwhash(writable(key.bytes()), key.size(), reinterpret_cast<const char*>(passphrase.bytes().data()),
                    passphrase.size(), salt.data(), static_cast<unsigned long long>(cost.passes),
                    static_cast<std::size_t>(cost.memory_bytes), crypto_pwhash_ALG_ARGON2ID13) != 0)
    fail_run("a passphrase of this file takes {} MiB of memory, which this process cannot get",
             cost.memory_bytes >> 20);
  return key;
}

Nonce fresh_nonce() {
  start_cryptography();
  Nonce nonce;
  randombytes_buf(nonce.data(), nonce.size());
  return nonce;
}

std::vector<std::byte> seal(std::span<const std::byte> secret, std::span<const std::byte> additional,
                            const Nonce& nonce, const SecretBytes& key) {
  SPANKEY_CHECK_EQ(key.size(), std::size_t{crypto_aead_xchacha20poly1305_ietf_KEYBYTES});
  std::vector<std::byte> sealed(secret.size() + seal_bytes);
  crypto_aead_xchacha20poly1305_ietf_encrypt(writable(sealed), nullptr, raw(secret), secret.size(), raw(additional),
                                             additional.size(), nullptr, nonce.data(), raw(key.bytes()));
  return sealed;
}

std::optional<SecretBytes> unseal(std::span<const std::byte> sealed, std::span<const std::byte> additional,
                                  const Nonce& nonce, const SecretBytes& key) {
  SPANKEY_CHECK_EQ(key.size(), std::size_t{crypto_aead_xchacha20poly1305_ietf_KEYBYTES});
  if (sealed.size() < seal_bytes) return std::nullopt;
  SecretBytes secret(sealed.size() - seal_bytes);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(writable(secret.bytes()), nullptr, nullptr, raw(sealed), sealed.size(),
                                                 raw(additional), additional.size(), nonce.data(),
                                                 raw(key.bytes())) != 0)
    return std::nullopt;
  return secret;
}

SecretBytes derived_key(const SecretBytes& master, std::uint64_t number, const char (&context)[9]) {
  SPANKEY_CHECK_EQ(master.size(), std::size_t{crypto_kdf_KEYBYTES});
  SecretBytes key(32);
  crypto_kdf_derive_from_key(writable(key.bytes()), key.size(), number, context, raw(master.bytes()));
  return key;
}

}  // namespace spankey
