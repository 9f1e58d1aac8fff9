// The key pair of a person to whom keys are sealed (X25519). NAME.pub may be sent to anybody, NAME.sec stays with the
// person.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "keyring/sealing.h"
#include "keyring/secret_bytes.h"

namespace spankey {

using RecipientPublic = std::array<std::uint8_t, 32>;

struct RecipientPair {
  std::string name;
  RecipientPublic public_key{};
  SecretBytes secret_key;  // 32 bytes
};

RecipientPair fresh_recipient(const std::string& name);

std::vector<std::byte> write_recipient_public(const RecipientPair& pair);
// NAME.pub. The secret key of the result is empty.
RecipientPair read_recipient_public(std::span<const std::byte> bytes, const std::string& name);

std::vector<std::byte> write_recipient_secret(const RecipientPair& pair, const SecretBytes& passphrase,
                                              const Argon2Cost& cost = moderate_cost);
RecipientPair read_recipient_secret(std::span<const std::byte> bytes, const SecretBytes& passphrase,
                                    const std::string& name);

std::vector<std::byte> seal_to(const RecipientPublic& recipient, std::span<const std::byte> secret);
std::optional<SecretBytes> unseal_with(const RecipientPair& recipient, std::span<const std::byte> sealed);
inline constexpr std::size_t recipient_seal_bytes = 48;  // that such a seal is longer than what it holds

}  // namespace spankey
