// Draws keys on the device that holds the samples, without host synchronisation, for steps that a device repeats as a
// graph. The numbers equal those of KeyMaker, bit for bit.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "spankey/keys/basis.h"
#include "spankey/keys/injection.h"
#include "spankey/keys/key_rules.h"
#include "spankey/ops/gram.h"

namespace spankey {

class ResidentKeys {
 public:
  // Copies the basis to `device`. The configuration must be one whose keys a device can draw, so that
  // why_keys_on_host() returns nullopt.
  ResidentKeys(const Config& config, const Basis& basis, at::Device device);

  // The valid keys of the step, see RowKeys. `samples` (n) int64 is the whole global batch, and `position` (2) int64 is
  // the epoch and the step within it. Both are on the device.
  RowKeys correct(const at::Tensor& samples, const at::Tensor& position) const;

  // The step's one wrong key for all rows.
  Injection wrong(const at::Tensor& samples, const at::Tensor& position) const;

 private:
  // (slots, n, m)
  at::Tensor alphas(const at::Tensor& samples, const at::Tensor& position) const;
  // Standard deviations of each slot. Undefined where nothing is rescaled.
  std::vector<at::Tensor> stds(const at::Tensor& alphas) const;
  Injection scaled(const at::Tensor& alphas, const std::vector<at::Tensor>& stds, std::int64_t begin,
                   std::int64_t end) const;
  at::Tensor alpha_of(const at::Tensor& alphas, std::int64_t layer) const;
  at::Tensor wrong_target(const at::Tensor& samples, const at::Tensor& position) const;

  KeyConfig config_;
  KeyRules rules_;
  InjectionKind kind_;
  std::uint64_t seed_;
  Twin twin_;
  std::vector<LayerBasis> bases_;  // on the device, as are the rest
  std::vector<Gram> grams_;        // one for each slot
  at::Tensor target_;              // (slots) float64
};

}  // namespace spankey
