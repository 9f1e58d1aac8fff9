#include "attack/issued_keys.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "keyring/owner_file.h"
#include "keyring/valid_key.h"
#include "spankey/keys/key_maker.h"

namespace spankey {
namespace {

constexpr std::int64_t least_directions = 8;  // outside the span, as KeyIssuer wants them

// An owner as `spankey key init` makes one, with its default share of the fingerprint.
Owner made_up_owner(const Config& config, const std::vector<std::int64_t>& widths, const Basis& basis,
                    const Stream& draws) {
  Owner owner;
  owner.key = config.key;
  owner.compat = config.run.compat;
  for (std::size_t i = 0; i < widths.size(); ++i) owner.sites.push_back({config.key.layers[i], widths[i]});
  owner.basis = secret_basis(basis);
  owner.codebook_seed = key_seed(config.key, static_cast<std::uint64_t>(config.run.seed));
  std::array<std::byte, 32> secret{};
  for (std::size_t i = 0; i < secret.size() / sizeof(std::uint32_t); ++i) {
    const std::uint32_t word = draws.word(i);
    std::memcpy(secret.data() + i * sizeof word, &word, sizeof word);
  }
  owner.master_secret = SecretBytes::copy_of(secret);
  return owner;
}

std::vector<KeyHolder> holders_of(const Owner& owner, std::int64_t count) {
  std::vector<KeyHolder> holders;
  for (std::uint64_t serial = 1; serial <= static_cast<std::uint64_t>(count); ++serial)
    holders.push_back({.serial = serial,
                       .name = {},
                       .alphas = alpha_tensors(owner, draw_alphas(owner, serial)),
                       .seed = derive_fingerprint_seed(owner.master_secret, serial)});
  return holders;
}

}  // namespace

bool IssuedKeys::possible(const KeyConfig& key, const std::vector<std::int64_t>& widths, const Basis& basis) {
  const auto wide = [&](std::int64_t width) { return width >= key.m + least_directions; };
  const auto spans = [](const at::Tensor& layer) { return layer.norm().item<double>() > 0.0; };
  return std::all_of(widths.begin(), widths.end(), wide) &&
         std::all_of(basis.layers.begin(), basis.layers.end(), spans);
}

IssuedKeys::IssuedKeys(const Config& config, const std::vector<std::int64_t>& widths, const Basis& basis,
                       const Stream& draws, std::int64_t colluders)
    : colluders_(colluders),
      issuer_(config.key, config.run.compat, basis, Owner().phi),
      holders_(holders_of(made_up_owner(config, widths, basis, draws), std::max(traced_users, colluders))),
      widest_(static_cast<std::size_t>(std::max_element(widths.begin(), widths.end()) - widths.begin())) {}

std::vector<std::vector<at::Tensor>> IssuedKeys::keys() const {
  std::vector<std::vector<at::Tensor>> keys;
  for (std::int64_t i = 0; i < colluders_; ++i) {
    const auto& holder = holders_[static_cast<std::size_t>(i)];
    auto& sites = keys.emplace_back(issuer_.key(holder.alphas, holder.seed));
    for (auto& site : sites) site = site.unsqueeze(0);
  }
  return keys;
}

nlohmann::json IssuedKeys::trace(const std::vector<at::Tensor>& key) const {
  std::vector<FoundKey> found;
  for (std::size_t site = 0; site < key.size(); ++site) {
    const double norm = key[site].norm().item<double>();
    if (!std::isfinite(norm) || norm == 0.0) return nullptr;
    found.push_back({site, key[site][0]});
  }
  const auto report = spankey::trace(issuer_, holders_, found, most_accused_by_chance);
  std::int64_t colluders_named = 0, innocents_named = 0;
  double sum = 0.0, smallest = std::numeric_limits<double>::infinity();
  for (const auto& user : report.users) {
    if (user.serial > static_cast<std::uint64_t>(colluders_)) {
      innocents_named += user.named() ? 1 : 0;
      continue;
    }
    colluders_named += user.named() ? 1 : 0;
    sum += user.sites[widest_].z;
    smallest = std::min(smallest, user.sites[widest_].z);
  }
  return {{"users", holders_.size()},
          {"z_threshold", report.z_threshold},
          {"colluders_named", colluders_named},
          {"innocents_named", innocents_named},
          {"mean_z", sum / static_cast<double>(colluders_)},
          {"smallest_z", smallest}};
}

}  // namespace spankey
