// The file registry.skr, which holds what an owner has issued and revoked, as records that are only ever added. It is
// sealed with a key that follows from the owner's master secret. Each record carries the BLAKE2b hash of the hash
// before and its own bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "keyring/owner_file.h"
#include "keyring/revocations.h"
#include "keyring/secret_bytes.h"

namespace spankey {

enum class RecordKind : std::uint8_t { issued = 1, revoked = 2, returned = 3 };

// A record without its secret part.
struct RegistryRecord {
  RecordKind kind{};
  std::uint64_t serial = 0;
  std::int64_t at = 0;  // seconds since 1970
  std::string text;     // issued: the holder's name; revoked: the reason
};

// An issued key in its present state.
struct IssuedKey {
  std::uint64_t serial = 0;
  std::string name;
  std::int64_t issued_at = 0, not_before = 0, not_after = 0;
  Digest key_digest{};
  bool revoked = false;
  std::int64_t revoked_at = 0;
  std::string reason;
};

inline constexpr std::size_t most_registry_bytes = std::size_t{1} << 30;

class Registry {
 public:
  Registry() = default;
  Registry copy() const;

  ChainHead head() const;
  // True where the registry is, or once was, in that state.
  bool has_passed(const ChainHead& head) const;
  std::uint64_t next_serial() const { return keys_.size() + 1; }
  const std::vector<RegistryRecord>& records() const { return records_; }
  const std::vector<IssuedKey>& keys() const { return keys_; }  // serial 1, 2, ...
  // Error(bad_input) where there is no such key.
  const IssuedKey& key(std::uint64_t serial) const;
  // The coefficients that the key was made of: float32 (slots, m), as draw_alphas() of keyring/valid_key.h gives them.
  SecretBytes alphas(std::uint64_t serial) const;

  // `key.serial` must be next_serial().
  void issue(const IssuedKey& key, const SecretBytes& alphas);
  // Error(bad_input) where the key is revoked already, or is not.
  void revoke(std::uint64_t serial, const std::string& reason, std::int64_t now);
  void unrevoke(std::uint64_t serial, std::int64_t now);

  // What revoked.skl has to say, and the sequence number that belongs to it.
  RevocationList revocations(const Owner& owner, std::int64_t now) const;

  std::vector<std::byte> write(const Owner& owner) const;
  // Error(bad_input) "NAME: ..." where it is damaged, another owner's or model's, or has been rolled back, which shows
  // against `owner.registry`. It may be ahead of that after a command that was killed.
  static Registry read(std::span<const std::byte> bytes, const Owner& owner, const std::string& name);

 private:
  struct Place {
    std::size_t begin = 0, size = 0;
  };

  void add(std::span<const std::byte> record);
  void take_record(std::span<const std::byte> content, std::size_t& begin, const Owner& owner, const std::string& name);

  SecretBytes content_;  // the records one after the other; only the first content_size_ bytes count
  std::size_t content_size_ = 0;
  std::vector<RegistryRecord> records_;
  std::vector<Digest> hashes_;  // after each record
  std::vector<IssuedKey> keys_;
  std::vector<Place> alphas_;  // of each key, within the content
};

}  // namespace spankey
