// Keys as an owner of the attacked network would issue them, each with its holder's fingerprint
// (keyring/fingerprint.h), and whose keys the owner finds in what colluders make of theirs.
#pragma once

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <vector>

#include "base/stream.h"
#include "config/config.h"
#include "keyring/trace.h"
#include "spankey/keys/basis.h"

namespace spankey {

inline constexpr std::int64_t traced_users = 500;       // who hold a key, or as many as there are colluders
inline constexpr double most_accused_by_chance = 1e-3;  // probability of naming anybody who is innocent

class IssuedKeys {
 public:
  // True where the keyed layers have room for fingerprints beside what the basis spans. A basis of zeros spans nothing.
  static bool possible(const KeyConfig& key, const std::vector<std::int64_t>& widths, const Basis& basis);

  // The first `colluders` users collude. `draws` makes the owner's master secret.
  IssuedKeys(const Config& config, const std::vector<std::int64_t>& widths, const Basis& basis, const Stream& draws,
             std::int64_t colluders);

  // The keys of the colluders, (1, d) for each keyed layer.
  std::vector<std::vector<at::Tensor>> keys() const;

  // Traces what the colluders have made of their keys, (1, d) for each keyed layer. Returns {"users", "z_threshold",
  // "colluders_named", "innocents_named", "mean_z", "smallest_z"}, or null for a key that is zero or not finite. The
  // scores z are those of the colluders at the widest layer.
  nlohmann::json trace(const std::vector<at::Tensor>& key) const;

 private:
  std::int64_t colluders_;
  KeyIssuer issuer_;
  std::vector<KeyHolder> holders_;
  std::size_t widest_ = 0;  // layer
};

}  // namespace spankey
