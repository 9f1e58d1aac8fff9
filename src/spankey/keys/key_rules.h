// How coefficients become keys, without any random numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "config/config.h"
#include "spankey/keys/basis.h"
#include "spankey/ops/gram.h"

namespace spankey {

// A slot is a key, or its coefficients, that one or all layers use. With key.per_layer_key there is one slot of
// coefficients for each layer, otherwise one for all layers.
//
// There is one slot of keys for each layer with key.per_layer_key or a basis for each layer, otherwise one for all
// layers. That one is as wide as the widest layer, and the layers use its prefixes. Under key.layout = "shared_blocks"
// it is as wide as all layers together, and each layer uses its own block of columns in the order of key.layers.
//
// A wrong key is drawn and rescaled slot by slot, and a valid key has one factor for each slot. With shared blocks that
// factor follows from the standard deviation over all blocks together, so that the deviation of a single layer may miss
// the target.
class KeyRules {
 public:
  KeyRules(const KeyConfig& config, Compat compat, const Basis& basis);

  std::int64_t layer_count() const { return static_cast<std::int64_t>(bases_.size()); }
  std::int64_t layer_width(std::int64_t layer) const { return grams_[static_cast<std::size_t>(layer)].width; }
  std::int64_t alpha_slots() const;
  std::int64_t key_slots() const;
  std::int64_t wrong_width(std::int64_t slot) const { return slot_gram(slot).width; }
  const std::vector<LayerBasis>& bases() const { return bases_; }
  const Gram& slot_gram(std::int64_t slot) const;  // moments of the valid keys of the slot

  // The basis of the valid keys of the slot, (m, wrong_width(slot)) float32. The second form takes another basis of the
  // same shape. Throws Error(bad_input) where the basis is unknown, as factors() and valid_std() do.
  at::Tensor slot_basis(std::int64_t slot) const;
  at::Tensor slot_basis(std::int64_t slot, const std::vector<at::Tensor>& layers) const;

  // Returns the factors of the keys of each layer, float64 (n). `alphas` are (n, m) for each slot of coefficients, with
  // all rows of the global batch, or with one row for each layer that stands for `repeats` rows.
  std::vector<at::Tensor> factors(const std::vector<at::Tensor>& alphas, std::int64_t repeats = 1) const;

  // Rescales a drawn wrong key and returns (1, d_l) for each layer. `drawn` has (d) for each key slot. Each is rescaled
  // like a key expanded to `rows` rows, in its own type, and then multiplied by `norm`. Without rescaling, the honest
  // protocol brings each to `valid_std` (that of the valid keys beside it, one entry for each key slot) and the
  // reference's protocol leaves it as drawn. A constant key has no standard deviation, so its root mean square is used.
  std::vector<at::Tensor> wrong_keys(const std::vector<at::Tensor>& drawn, std::int64_t rows,
                                     const std::vector<double>& valid_std, double norm = 1.0) const;

  // Brings a whole key, (1, d_l) for each layer, to the target deviation slot by slot, as wrong_keys() does
  // (key.norm_clamp). Whoever lets in keys of others can so take from them the freedom to choose a norm.
  std::vector<at::Tensor> norm_clamped(const std::vector<at::Tensor>& keys) const;

  // Cuts the keys (n, wrong_width) of each key slot into those of the layers, (n, d_l).
  std::vector<at::Tensor> layer_keys(const std::vector<at::Tensor>& slots) const;

  // Standard deviation of the (unscaled) valid keys of each key slot.
  std::vector<double> valid_std(const std::vector<at::Tensor>& alphas, std::int64_t repeats = 1) const;

  // The standard deviation to which keys are rescaled, or 0 where they are not.
  double target() const { return config_.rescale == Rescale::none ? 0.0 : config_.target_std; }

  // False where wrong keys need no valid_std.
  bool wrong_follows_valid() const;

  // Position in a list of `slots` (1 or one a layer) that belongs to `layer`.
  std::int64_t slot_of(std::int64_t layer, std::size_t slots) const { return slots == 1 ? 0 : layer; }

 private:
  void require_basis() const;

  KeyConfig config_;
  Compat compat_;
  bool known_;
  std::vector<LayerBasis> bases_;
  std::vector<Gram> grams_;  // one for each layer
  Gram whole_;               // for the one slot of all layers
  std::int64_t widest_ = 0;  // position among the configured layers
};

}  // namespace spankey
