// The file revoked.skl, which names the keys that honest programs refuse. The owner signs it. Whoever holds the weights
// and a key can ignore it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "keyring/signing.h"

namespace spankey {

// Said wherever a revocation is told of.
inline constexpr std::string_view worth_of_a_revocation =
    "holders of the weights ignore this list; key rotate re-trains";

struct RevokedKey {
  std::uint64_t serial = 0;
  Digest key_digest{};
};

struct RevocationList {
  std::string model_id;
  std::int64_t sequence = 0;   // grows by 1 with each revocation and each return
  std::int64_t issued_at = 0;  // seconds since 1970
  bool laboratory = false;
  std::vector<RevokedKey> keys;  // ascending serials
  PublicKey owner{};             // who has signed; write_revocations() sets its own

  bool names(std::uint64_t serial, const Digest& key_digest) const;
};

inline constexpr std::size_t most_revoked_keys = std::size_t{1} << 20;

std::vector<std::byte> write_revocations(const RevocationList& list, const SigningKey& owner);
// Error(bad_input) "NAME: ..." for anything but a whole and validly signed list, whoever has signed it.
RevocationList read_revocations(std::span<const std::byte> bytes, const std::string& name);

}  // namespace spankey
