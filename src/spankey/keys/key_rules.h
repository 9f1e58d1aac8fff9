// How coefficients become keys: the rules without the random numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "config/config.h"
#include "spankey/keys/basis.h"
#include "spankey/ops/gram.h"

namespace spankey {

// Coefficient slots: one for each layer with key.per_layer_key, otherwise one for all.
// Key slots: one for each layer with key.per_layer_key or a basis for each layer, otherwise one for all: as wide as the
// widest layer, whose prefixes the layers use, or under key.layout = "shared_blocks" as wide as all layers together,
// each with its block of columns in the order of key.layers. A wrong key is drawn and rescaled slot by slot, and a
// valid key has one factor for each slot: with shared blocks that of the standard deviation over all blocks together,
// so that a single layer's may miss the target.
class KeyRules {
 public:
  KeyRules(const KeyConfig& config, Compat compat, const Basis& basis);

  std::int64_t layer_count() const { return static_cast<std::int64_t>(bases_.size()); }
  std::int64_t layer_width(std::int64_t layer) const { return grams_[static_cast<std::size_t>(layer)].width; }
  std::int64_t alpha_slots() const;
  std::int64_t key_slots() const;
  std::int64_t wrong_width(std::int64_t slot) const { return slot_gram(slot).width; }
  const std::vector<LayerBasis>& bases() const { return bases_; }
  const Gram& slot_gram(std::int64_t slot) const;  // of the valid keys that fill the slot

  // (m, wrong_width(slot)) float32: the basis of the valid keys that fill the slot. The second form: of another basis
  // of the same shape.
  at::Tensor slot_basis(std::int64_t slot) const;
  at::Tensor slot_basis(std::int64_t slot, const std::vector<at::Tensor>& layers) const;

  // `alphas`: (n, m) for each alpha slot, all rows of the global batch, or one row for each layer standing for
  // `repeats` rows. Returns the factors of the keys of each layer: float64 (n).
  std::vector<at::Tensor> factors(const std::vector<at::Tensor>& alphas, std::int64_t repeats = 1) const;

  // `drawn`: (d) for each key slot. Rescaled like a key expanded to `rows` rows, in the type of `drawn`, and then
  // times `norm`; without rescaling, the honest protocol brings each to `valid_std` (of the valid keys beside it, one
  // entry for each slot) and the reference's leaves it as drawn. A constant key has no standard deviation: its root
  // mean square takes that place. Returns (1, d_l) for each layer.
  std::vector<at::Tensor> wrong_keys(const std::vector<at::Tensor>& drawn, std::int64_t rows,
                                     const std::vector<double>& valid_std, double norm = 1.0) const;

  // Keys (n, wrong_width) of each key slot, cut into those of the layers: (n, d_l).
  std::vector<at::Tensor> layer_keys(const std::vector<at::Tensor>& slots) const;

  // Standard deviation of the (unscaled) valid keys that each key slot stands beside.
  std::vector<double> valid_std(const std::vector<at::Tensor>& alphas, std::int64_t repeats = 1) const;

  // The standard deviation that keys are brought to; 0: none.
  double target() const { return config_.rescale == Rescale::none ? 0.0 : config_.target_std; }

  // False where wrong keys need no valid_std.
  bool wrong_follows_valid() const;

  // Position in a list of `slots` (1 or one a layer) that belongs to `layer`.
  std::int64_t slot_of(std::int64_t layer, std::size_t slots) const { return slots == 1 ? 0 : layer; }

 private:
  KeyConfig config_;
  Compat compat_;
  std::vector<LayerBasis> bases_;
  std::vector<Gram> grams_;  // of the layers
  Gram whole_;               // of the one slot for all layers
  std::int64_t widest_ = 0;  // position among the configured layers
};

}  // namespace spankey
