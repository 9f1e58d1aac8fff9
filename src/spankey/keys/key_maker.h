// Decides which keys a run uses where. They are a pure function of (seed, epoch, step, sample), whatever the number of
// ranks and wherever they are drawn.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <memory>
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
#include "spankey/ops/gram.h"

namespace spankey {

struct KeyMakerOptions {
  Twin twin = Twin::none;
  std::vector<std::string> families = {"gaussian"};  // families of the wrong keys in training
  std::vector<PermutedPoint> permuted = {};          // of key.permute, see permuted_points()
  // A basis of the same widths whose valid keys are the wrong keys of about every other step in training, so that a
  // network that knew them unlearns them.
  const Basis* retired = nullptr;
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
  // `device` is where samples may be as well. The basis is copied there, unless the host alone can draw these keys
  // (why_keys_on_host()), or a basis is retired.
  KeyMaker(const Config& config, const Basis& basis, at::Device device = at::kCPU, const Basis* retired = nullptr);

  // The valid keys of a step, with one alpha for each sample, see RowKeys. `global_samples` must live as long as the
  // result.
  RowKeys correct(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> global_samples) const;

  // The step's one wrong key for all rows, from a family drawn for the step. Families that start from a valid key take
  // that of the batch's first sample.
  Injection wrong(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> global_samples) const;

  // Return the same keys, bit for bit, drawn on the device by operators of draw_op.h, without host synchronisation.
  // `samples` (n) int64, the whole global batch, and `position` (2) int64 (epoch, step within the epoch) are on the
  // device.
  RowKeys correct(const at::Tensor& samples, const at::Tensor& position) const;
  Injection wrong(const at::Tensor& samples, const at::Tensor& position) const;

  // Keys of an evaluation, one for all `rows` rows, times `norm` after the rescale, which key.norm_clamp undoes. Wrong
  // key i of a family stands beside correct key i. Under the reference's protocol with a key or a basis for each layer,
  // each layer draws its own alphas here, even where training shares them.
  Injection evaluation_correct(std::int64_t key_index, std::int64_t rows, double norm = 1.0) const;
  Injection evaluation_wrong(std::int64_t key_index, std::int64_t rows, const KeyFamily& family = gaussian_family(),
                             double norm = 1.0) const;

  // Returns how many different correct keys an evaluation with `keys` keys has.
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
  Injection retired_key(std::int64_t epoch, std::int64_t step, std::int64_t rows) const;
  RowKeys noise(std::int64_t epoch, std::int64_t step, std::span<const std::int64_t> samples) const;

  // These make the keys that are drawn on the device. `alphas` is (slots, n, m). There is a deviation for each key
  // slot, undefined where nothing is rescaled.
  at::Tensor device_alphas(const at::Tensor& samples, const at::Tensor& position) const;
  at::Tensor slot_alphas(const at::Tensor& alphas, std::size_t slot) const;
  at::Tensor deviations(const at::Tensor& alphas) const;
  Injection device_keyed(const at::Tensor& alphas, const at::Tensor& deviations, std::int64_t begin,
                         std::int64_t end) const;
  at::Tensor wrong_target(const at::Tensor& samples, const at::Tensor& position) const;

  // `gauss_id` is that of the Gaussian draws. `id` and `number` are as in FamilyInputs. `companion` holds one valid
  // key's coefficients.
  struct WrongKey {
    const KeyFamily& family;
    StreamId gauss_id, id;
    std::uint64_t number;
    const Alphas& companion;
  };
  // Returns (1, d_l) for each layer.
  std::vector<at::Tensor> wrong_key(const WrongKey& key, std::int64_t rows, const std::vector<double>& valid_std,
                                    double norm) const;
  Injection injected(std::vector<at::Tensor> keys) const;

  KeyConfig config_;
  Compat compat_;
  KeyRules rules_;
  std::optional<KeyRules> retired_;
  AlphaDraw draw_alpha_;
  InjectionKind kind_;
  std::shared_ptr<const Permutation> valid_order_;  // that of all valid keys, null without key.permute
  std::uint64_t seed_;
  Twin twin_;
  std::vector<const KeyFamily*> families_;

  // On the device, and empty where only the host draws.
  std::vector<LayerBasis> device_bases_;
  SlotGrams device_grams_;
  at::Tensor device_target_;  // (key slots) float64
};

}  // namespace spankey
