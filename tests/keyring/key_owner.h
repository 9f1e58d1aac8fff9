// An owner of keys without a network: a basis, a master secret and what is issued from them.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "base/stream.h"
#include "keyring/fingerprint.h"
#include "keyring/trace.h"
#include "spankey/keys/alpha_law.h"

namespace spankey::test {

class KeyOwner {
 public:
  explicit KeyOwner(KeyConfig config, std::vector<std::int64_t> widths, double phi = 0.1)
      : config_(with_layers(std::move(config), widths.size())),
        basis_(make_basis(config_, widths, 7)),
        keys_(config_, Compat::honest, basis_, phi) {
    for (std::size_t i = 0; i < master_.size(); ++i) master_.bytes()[i] = static_cast<std::byte>(i * 7 + 1);
  }

  const KeyConfig& config() const { return config_; }
  const Basis& basis() const { return basis_; }
  const KeyIssuer& keys() const { return keys_; }

  KeyHolder user(std::uint64_t serial) const {
    KeyHolder issued{.serial = serial,
                     .name = "user " + std::to_string(serial),
                     .alphas = {},
                     .seed = derive_fingerprint_seed(master_, serial)};
    for (std::int64_t slot = 0; slot < keys_.alpha_slots(); ++slot) {
      issued.alphas.push_back(at::empty({config_.m}, at::kFloat));
      AlphaDraw(config_.alpha, config_.m, 0)(
          {.seed = 99, .sample = serial, .layer = static_cast<std::uint32_t>(slot)},
          {issued.alphas.back().mutable_data_ptr<float>(), static_cast<std::size_t>(config_.m)});
    }
    return issued;
  }

  // Users first .. first + count - 1.
  std::vector<KeyHolder> users(std::uint64_t first, std::uint64_t count) const {
    std::vector<KeyHolder> result;
    for (std::uint64_t serial = first; serial < first + count; ++serial) result.push_back(user(serial));
    return result;
  }

  // The key of a user at a site, (d) float32.
  at::Tensor key(std::uint64_t serial, std::size_t site = 0) const {
    const auto issued = user(serial);
    return keys_.key(issued.alphas, issued.seed).at(site);
  }

 private:
  static KeyConfig with_layers(KeyConfig config, std::size_t count) {
    config.layers.clear();
    for (std::size_t i = 0; i < count; ++i) config.layers.push_back(static_cast<std::int64_t>(i));
    return config;
  }

  KeyConfig config_;
  Basis basis_;
  KeyIssuer keys_;
  SecretBytes master_ = SecretBytes(32);
};

// Standard normal draws, (d) float32, another vector for each number.
inline at::Tensor normals(std::int64_t d, std::uint64_t number) {
  at::Tensor result = at::empty({d}, at::kFloat);
  Stream({.seed = 4711, .sample = number}).fill_normal({result.mutable_data_ptr<float>(), static_cast<std::size_t>(d)});
  return result;
}

// Each coordinate from one of the keys (c, d), at random.
inline at::Tensor mosaic(const at::Tensor& keys, std::uint64_t number) {
  const Stream stream({.seed = 815, .sample = number});
  at::Tensor result = at::empty({keys.size(1)}, keys.options());
  for (std::int64_t i = 0; i < keys.size(1); ++i)
    result[i] = keys[static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(i), keys.size(0)))][i];
  return result;
}

}  // namespace spankey::test
