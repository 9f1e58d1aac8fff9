// The file owner.sks, which holds the secret of a model's owner. Anybody who has the file can read its header. The rest
// needs the passphrase.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "config/config.h"
#include "keyring/sealing.h"
#include "keyring/signing.h"
#include "keyring/user_key.h"

namespace spankey {

inline constexpr double most_phi = 0.5;

// How far a chain of hashes had come when owner.sks was written. A file that has not got so far has been rolled back.
struct ChainHead {
  std::uint64_t records = 0;
  Digest hash{};  // of the last of them
};

struct Owner {
  // In the header.
  std::string model_id;         // weights_sha256 of the model, hexadecimal
  std::int64_t created_at = 0;  // seconds since 1970
  bool laboratory = false;      // The basis follows a seed: anybody can draw it again.
  double phi = 0.1;             // share of a key's energy that is its fingerprint
  double correct_accuracy = 0;  // of valid keys on the challenge images, when the model was taken over
  KeyConfig key;                // m, layers, alpha, layout, rescale, ... (the law of valid keys)
  Compat compat = Compat::honest;
  std::vector<KeySite> sites;  // of key.layers
  PublicKey public_key{};

  // Secret.
  std::vector<SecretBytes> basis;   // float32 (m, width) for each site, row by row
  SecretBytes master_secret;        // 32 bytes, from which the seeds of alphas and fingerprints are derived
  SecretBytes signing_seed;         // 32 bytes (Ed25519)
  std::uint64_t codebook_seed = 0;  // of key.alpha = "codebook", as the run has it
  std::uint64_t next_serial = 1;
  ChainHead registry;  // registry.skr
  ChainHead audit;     // audit.log

  SigningKey signing_key() const { return SigningKey(signing_seed.bytes()); }
};

// The key of owner.sks, so that Argon2 is asked once a command.
struct OwnerLock {
  PassphraseLaw law;
  SecretBytes key;

  static OwnerLock fresh(const SecretBytes& passphrase, const Argon2Cost& cost = moderate_cost);
};

std::vector<std::byte> write_owner(const Owner& owner, const OwnerLock& lock);

// Reads the header alone and leaves the secret fields empty. Nothing proves the header without the passphrase.
Owner read_owner_header(std::span<const std::byte> bytes, const std::string& name);

// Error(bad_input) "NAME: ..." where the file is damaged or the passphrase another one.
struct OpenedOwner {
  Owner owner;
  OwnerLock lock;
};
OpenedOwner open_owner(std::span<const std::byte> bytes, const SecretBytes& passphrase, const std::string& name);

}  // namespace spankey
