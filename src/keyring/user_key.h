// The file user.skk, one person's key to one model. The owner signs it.
//
// Whoever holds the vectors of a key can use it with the weights, whatever its dates and the list of revocations say.
// Only honest programs observe those.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "keyring/key_facts.h"
#include "keyring/recipient.h"
#include "keyring/revocations.h"
#include "keyring/sealing.h"
#include "keyring/signing.h"

namespace spankey {

// Times are seconds since 1970 (UTC).
struct UserKey {
  std::uint64_t serial = 0;                                   // from 1
  std::string name;                                           // of its holder
  std::string model_id;                                       // weights_sha256 of the model, hexadecimal
  std::int64_t issued_at = 0, not_before = 0, not_after = 0;  // valid where not_before <= now < not_after
  Digest key_digest{};                                        // vectors_digest()
  bool laboratory = false;                                    // of an owner whose basis follows a seed
  std::vector<KeySite> sites;
  SecretBytes vectors;  // float32, one site after the other, at their full strength (rescaled)

  std::span<const float> vector_at(std::size_t site) const;
};

// BLAKE2b of points, widths and vectors.
Digest vectors_digest(const std::vector<KeySite>& sites, std::span<const std::byte> vectors);

enum class KeySeal { none, recipient, passphrase };

// How a key file is closed. At most one of the two is given.
struct SealWith {
  const RecipientPublic* recipient = nullptr;
  const SecretBytes* passphrase = nullptr;
  Argon2Cost cost = moderate_cost;  // of the passphrase
};

std::vector<std::byte> write_user_key(const UserKey& key, const SigningKey& owner, const SealWith& with = {});

// A key file whose signature is valid. `key.vectors` is empty where it is sealed.
struct UserKeyFile {
  UserKey key;
  PublicKey owner{};  // who has signed
  KeySeal seal = KeySeal::none;
  std::vector<std::byte> bytes;  // of a sealed file, for open_user_key()
};

// Error(bad_input) "NAME: ..." for anything but a whole and validly signed key file, whoever has signed it.
UserKeyFile read_user_key(std::span<const std::byte> bytes, const std::string& name);
// Does the same with a file, which is read as read_secret_file() does.
UserKeyFile read_user_key_file(const std::filesystem::path& path);

// What a sealed file is opened with. The one that its seal needs must be there.
struct OpenWith {
  const RecipientPair* recipient = nullptr;
  const SecretBytes* passphrase = nullptr;
};
// The key with its vectors. Error(bad_input) where the seal does not open.
UserKey open_user_key(UserKeyFile file, const OpenWith& with, const std::string& name);

// What a key is held against before it is used.
struct KeyUse {
  std::string model_id;
  PublicKey owner{};                        // of the model
  std::int64_t now = 0;                     // seconds since 1970
  const RevocationList* revoked = nullptr;  // of the same owner, or none
};

// Error(bad_input) in one line where the key is another owner's or model's, is expired, not yet valid, issued in the
// future (the clock is wrong), or revoked. The vectors are not needed.
void require_usable(const UserKey& key, const PublicKey& signer, const KeyUse& use, const std::string& name);

}  // namespace spankey
