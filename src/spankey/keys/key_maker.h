// Makes the keys of a run, a pure function of (seed, epoch, step, sample) for any number of ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/stream.h"
#include "config/config.h"
#include "spankey/keys/alpha_law.h"
#include "spankey/keys/basis.h"
#include "spankey/keys/injection.h"
#include "spankey/keys/key_family.h"
#include "spankey/keys/key_rules.h"

namespace spankey {

struct KeyMakerOptions {
  Twin twin = Twin::none;
  std::vector<std::string> families = {"gaussian"};  // families of the wrong keys in training
};

// Shares of the multiplier's entries that are at its bounds, 0.1 and 2.
struct Saturation {
  double low = 0, high = 0;
};

// This also implements the twins of train.twin. `vanilla` has no keys, so that every Injection is none(). `noise` takes
// a fresh Gaussian of the valid keys' norm for each sample in place of its valid key, in training only. `fixed_key`
// takes the first valid key of the evaluation for every sample, step and evaluation.
class KeyMaker {
 public:
  // `run_seed` is the seed of alphas and wrong keys (not of the basis).
  KeyMaker(const KeyConfig& config, Compat compat, const Basis& basis, std::uint64_t run_seed,
           const KeyMakerOptions& options = {});
  KeyMaker(const Config& config, const Basis& basis);

  // The valid keys of a step, with one alpha for each sample, see RowKeys. `global_samples` must live as long as the
  // result.
  RowKeys correct(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> global_samples) const;

  // The step's one wrong key for all rows, from a family drawn for the step. Families that start from a valid key take
  // that of the batch's first sample.
  Injection wrong(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> global_samples) const;

  // Keys of an evaluation, one for all `rows` rows, times `norm` after the rescale. Wrong key i of a family is drawn
  // beside correct key i. If the reference's protocol has a key or a basis for each layer, each layer draws its own
  // alphas here, even where training shares them.
  Injection evaluation_correct(std::int64_t key_index, std::int64_t rows, double norm = 1.0) const;
  Injection evaluation_wrong(std::int64_t key_index, std::int64_t rows, const KeyFamily& family = gaussian_family(),
                             double norm = 1.0) const;

  // How many different correct keys an evaluation with `keys` keys has.
  std::int64_t correct_keys(std::int64_t keys) const {
    return twin_ == Twin::fixed_key ? std::min<std::int64_t>(keys, 1) : keys;
  }

  // Saturation of one key for all rows, over all layers. Returns nullopt where the injection clamps nothing.
  std::optional<Saturation> saturation(const Injection& key) const;

 private:
  using Alphas = std::vector<at::Tensor>;  // one (n, m) for each slot

  Alphas batch_alphas(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> samples) const;
  Alphas evaluation_alphas(std::int64_t key_index) const;
  at::Tensor gaussian(StreamId id, std::int64_t slot) const;
  Injection keyed(const Alphas& alphas, const std::vector<at::Tensor>& factors, std::int64_t begin,
                  std::int64_t end) const;
  RowKeys noise(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> samples) const;

  // `gauss_id` is the stream of the Gaussian draws. FamilyInputs explains `id` and `number`. `companion` holds the
  // coefficients of one valid key.
  struct WrongKey {
    const KeyFamily& family;
    StreamId gauss_id, id;
    std::uint64_t number;
    const Alphas& companion;
  };
  Injection wrong_key(const WrongKey& key, std::int64_t rows, const std::vector<double>& valid_std, double norm) const;

  KeyConfig config_;
  Compat compat_;
  KeyRules rules_;
  AlphaDraw draw_alpha_;
  InjectionKind kind_;
  std::uint64_t seed_;
  Twin twin_;
  std::vector<const KeyFamily*> families_;
};

}  // namespace spankey
