// Keys drawn where the samples live, with no word from the host: for steps that a device takes on its own. The numbers
// of KeyMaker, bit for bit.
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
  // For a configuration whose keys a device can draw: why_keys_on_host() has nothing to say. Copies the basis there.
  ResidentKeys(const Config& config, const Basis& basis, at::Device device);

  // `samples` (n) int64: the whole global batch; `position` (2) int64: epoch, step within the epoch; both on the
  // device. The valid keys of the step; see RowKeys.
  RowKeys correct(const at::Tensor& samples, const at::Tensor& position) const;

  // The step's one wrong key for all rows.
  Injection wrong(const at::Tensor& samples, const at::Tensor& position) const;

 private:
  // (slots, n, m)
  at::Tensor alphas(const at::Tensor& samples, const at::Tensor& position) const;
  // Of each slot; undefined where nothing is rescaled.
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
  std::vector<Gram> grams_;        // one for each wrong slot
  at::Tensor target_;              // (wrong slots) float64
};

}  // namespace spankey
