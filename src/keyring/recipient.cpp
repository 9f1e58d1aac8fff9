#include "keyring/recipient.h"

#include <sodium.h>

#include <algorithm>

#include "base/error.h"
#include "base/secret.h"
#include "keyring/container.h"
#include "keyring/sodium_span.h"

namespace spankey {
namespace {

static_assert(sizeof(RecipientPublic) == crypto_box_PUBLICKEYBYTES);
static_assert(recipient_seal_bytes == crypto_box_SEALBYTES);

constexpr std::size_t most_recipient_name_bytes = 256;

nlohmann::json public_header(const RecipientPair& pair) {
  return {{"name", pair.name}, {"public_key", hex_text(pair.public_key)}};
}

RecipientPair read_public_fields(HeaderFields& header) {
  RecipientPair pair;
  pair.name = header.text("name", most_recipient_name_bytes);
  header.bytes("public_key", pair.public_key);
  return pair;
}

}  // namespace

RecipientPair fresh_recipient(const std::string& name) {
  RecipientPair pair{.name = name, .public_key = {}, .secret_key = SecretBytes(crypto_box_SECRETKEYBYTES)};
  crypto_box_keypair(pair.public_key.data(), writable(pair.secret_key.bytes()));
  return pair;
}

std::vector<std::byte> write_recipient_public(const RecipientPair& pair) {
  return make_container(container_prefix(FileType::recipient_public, public_header(pair)), {}, nullptr);
}

RecipientPair read_recipient_public(std::span<const std::byte> bytes, const std::string& name) {
  const auto file = parse_container(bytes, FileType::recipient_public, name);
  HeaderFields header(file.header, name);
  auto pair = read_public_fields(header);
  header.require_no_others();
  if (!file.payload.empty()) fail_input("{}: {} bytes of content; accepted: none", name, file.payload.size());
  return pair;
}

std::vector<std::byte> write_recipient_secret(const RecipientPair& pair, const SecretBytes& passphrase,
                                              const Argon2Cost& cost) {
  const auto law = PassphraseLaw::fresh(cost);
  const auto nonce = fresh_nonce();
  auto header = public_header(pair);
  header["argon2"] = law.to_json();
  header["nonce"] = hex_text(nonce);
  const auto prefix = container_prefix(FileType::recipient_secret, header);
  return make_container(prefix, seal(pair.secret_key.bytes(), prefix, nonce, law.key(passphrase)), nullptr);
}

RecipientPair read_recipient_secret(std::span<const std::byte> bytes, const SecretBytes& passphrase,
                                    const std::string& name) {
  const auto file = parse_container(bytes, FileType::recipient_secret, name);
  HeaderFields header(file.header, name);
  auto pair = read_public_fields(header);
  const auto law = PassphraseLaw::read(header, name);
  Nonce nonce;
  header.bytes("nonce", nonce);
  header.require_no_others();
  if (file.payload.size() != crypto_box_SECRETKEYBYTES + seal_bytes)
    fail_input("{}: {} bytes of content; accepted: {}", name, file.payload.size(),
               crypto_box_SECRETKEYBYTES + seal_bytes);
  auto secret = unseal(file.payload, file.prefix, nonce, law.key(passphrase));
  if (!secret) fail_input("{}: the passphrase is another one, or the file has been changed", name);
  pair.secret_key = *std::move(secret);
  return pair;
}

std::vector<std::byte> seal_to(const RecipientPublic& recipient, std::span<const std::byte> secret) {
  start_cryptography();
  std::vector<std::byte> sealed(secret.size() + recipient_seal_bytes);
  if (crypto_box_seal(writable(sealed), raw(secret), secret.size(), recipient.data()) != 0)
    fail_input("the recipient's public key is none that anything can be sealed to");
  return sealed;
}

std::optional<SecretBytes> unseal_with(const RecipientPair& recipient, std::span<const std::byte> sealed) {
  SPANKEY_CHECK_EQ(recipient.secret_key.size(), std::size_t{crypto_box_SECRETKEYBYTES});
  if (sealed.size() < recipient_seal_bytes) return std::nullopt;
  SecretBytes secret(sealed.size() - recipient_seal_bytes);
  if (crypto_box_seal_open(writable(secret.bytes()), raw(sealed), sealed.size(), recipient.public_key.data(),
                           raw(recipient.secret_key.bytes())) != 0)
    return std::nullopt;
  return secret;
}

}  // namespace spankey
