// Which keys a run uses where: a pure function of (seed, epoch, step, sample), whatever the number of ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/stream.h"
#include "config/config.h"
#include "spankey/basis.h"
#include "spankey/gram.h"
#include "spankey/injection.h"

namespace spankey {

// How coefficients become keys: the rules without the random numbers.
//
// Coefficient slots: one for each layer with key.per_layer_key, otherwise one for all. Wrong-key slots: one for each
// layer with key.per_layer_key or a basis for each layer, otherwise one as wide as the widest layer, whose prefixes the
// layers use. Rescaling: with one slot and a shared basis, the widest layer's factor holds for all layers;
// otherwise each layer has its own.
class KeyRules {
 public:
  KeyRules(const KeyConfig& config, Compat compat, const Basis& basis);

  std::int64_t layer_count() const { return static_cast<std::int64_t>(bases_.size()); }
  std::int64_t alpha_slots() const;
  std::int64_t wrong_slots() const;
  std::int64_t wrong_width(std::int64_t slot) const;
  const std::vector<LayerBasis>& bases() const { return bases_; }

  // `alphas`: (n, m) for each alpha slot, all rows of the global batch, or one row for each layer standing for
  // `repeats` rows. Returns the factors of the keys of each layer: float64 (n).
  std::vector<at::Tensor> factors(const std::vector<at::Tensor>& alphas, std::int64_t repeats = 1) const;

  // `gauss`: (d) for each wrong slot. Rescaled like a key expanded to `rows` rows, in the type of `gauss`; without
  // rescaling, the honest protocol brings each to `valid_std` (of the valid keys beside it, one entry for each slot)
  // and the reference's leaves it as drawn. Returns (1, d_l) for each layer.
  std::vector<at::Tensor> wrong_keys(const std::vector<at::Tensor>& gauss, std::int64_t rows,
                                     const std::vector<double>& valid_std) const;

  // Standard deviation of the (unscaled) valid keys that each wrong slot stands beside.
  std::vector<double> valid_std(const std::vector<at::Tensor>& alphas, std::int64_t repeats = 1) const;

  // False where wrong keys need no valid_std.
  bool wrong_follows_valid() const;

 private:
  bool one_factor() const;  // for all layers
  std::int64_t slot_of(std::int64_t layer, std::size_t slots) const;

  KeyConfig config_;
  Compat compat_;
  std::vector<LayerBasis> bases_;
  std::vector<Gram> grams_;
  std::int64_t widest_ = 0;  // position among the configured layers
};

class KeyMaker {
 public:
  // `run_seed`: of alphas and wrong keys (not of the basis).
  KeyMaker(const KeyConfig& config, Compat compat, Basis basis, std::uint64_t run_seed);

  // Valid keys of rows begin .. end-1 of the global batch; one alpha for each sample.
  Injection correct(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> global_samples,
                    std::int64_t begin, std::int64_t end) const;

  // The step's one wrong key, a Gaussian of the whole space, for all rows.
  Injection wrong(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> global_samples) const;

  // Keys of an evaluation, one for all `rows` rows. Under the reference's protocol with a key or a basis for each
  // layer, each layer draws its own alphas here, even where training shares them.
  Injection evaluation_correct(std::int64_t key_index, std::int64_t rows) const;
  Injection evaluation_wrong(std::int64_t key_index, std::int64_t rows) const;

 private:
  std::vector<at::Tensor> batch_alphas(std::int64_t epoch, std::int64_t step,
                                       std::span<const std::int64_t> samples) const;
  std::vector<at::Tensor> evaluation_alphas(std::int64_t key_index) const;
  std::vector<at::Tensor> gaussians(Purpose purpose, std::int64_t epoch, std::int64_t step, std::int64_t sample) const;
  Injection keyed(const std::vector<at::Tensor>& alphas, const std::vector<at::Tensor>& factors, std::int64_t begin,
                  std::int64_t end) const;

  KeyConfig config_;
  Compat compat_;
  KeyRules rules_;
  InjectionKind kind_;
  std::uint64_t seed_;
};

}  // namespace spankey
