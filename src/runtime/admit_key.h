// Opens a user's key for one model and refuses it where an honest program must.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "keyring/secret_bytes.h"
#include "keyring/user_key.h"

namespace spankey {

struct KeyRequest {
  std::filesystem::path key;                 // user.skk
  std::filesystem::path revoked = {};        // revoked.skl, empty for none
  const RecipientPair* recipient = nullptr;  // for a key that is sealed to a person
  const SecretBytes* passphrase = nullptr;   // for one that is sealed with a passphrase
};

// What the key is used with. Without an owner whoever has signed the key is taken for him.
struct KeyedModel {
  std::string model_id;  // weights_sha256
  std::optional<PublicKey> owner;
};

// `now`: seconds since 1970. Error(bad_input) in one line for whatever require_usable() or the seal refuses. Nothing of
// the key is opened before it has been found usable.
UserKey admit_key(const KeyRequest& request, const KeyedModel& model, std::int64_t now);

// Returns whether and how a key file is sealed, so that a program knows what to ask for.
KeySeal seal_of(const std::filesystem::path& key);

// Returns one line that says whose key it is and how long it is valid.
std::string key_text(const UserKey& key);

}  // namespace spankey
