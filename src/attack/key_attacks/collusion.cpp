// L1: what several holders of issued keys make of them, so that none of theirs is in it, or so that it does not look
// like their mean, which K4 has from keys without fingerprints.
#include "attack/key_attacks/collusion.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "attack/context.h"
#include "attack/key_attacks/key_shapes.h"
#include "base/error.h"
#include "spankey/ops/gram.h"

namespace spankey {
namespace {

at::Tensor combined_key(AttackContext& context, const std::string& variant, const at::Tensor& keys, std::size_t layer) {
  if (variant == "mean") return keys.mean(0, /*keepdim=*/true);
  if (variant == "median") return median_key(keys);
  if (variant == "min-max") return min_max_key(keys);
  if (variant == "mosaic") return mosaic_key(keys, context.uniforms(static_cast<std::int64_t>(layer), keys.size(1)));
  if (variant == "svd") return leading_mean_key(keys, context.key_entry().m);
  SPANKEY_CHECK(variant == "noise .1" || variant == "noise .3" || variant == "noise 1");
  const double energy = variant == "noise .1" ? 0.1 : variant == "noise .3" ? 0.3 : 1.0;
  return noisy_mean_key(keys, context.normal_keys(0)[layer], energy);
}

}  // namespace

at::Tensor median_key(const at::Tensor& keys) {
  const at::Tensor sorted = std::get<0>(keys.sort(0));
  const auto count = keys.size(0);
  return (sorted.narrow(0, (count - 1) / 2, 1) + sorted.narrow(0, count / 2, 1)) / 2;
}

at::Tensor min_max_key(const at::Tensor& keys) {
  return (keys.amin(0, /*keepdim=*/true) + keys.amax(0, /*keepdim=*/true)) / 2;
}

at::Tensor mosaic_key(const at::Tensor& keys, std::span<const double> uniforms) {
  std::vector<std::int64_t> chosen;
  for (const double uniform : uniforms)
    chosen.push_back(static_cast<std::int64_t>(uniform * static_cast<double>(keys.size(0))));
  return keys.gather(0, at::tensor(chosen, at::kLong).view({1, -1}));
}

at::Tensor noisy_mean_key(const at::Tensor& keys, const at::Tensor& noise, double energy) {
  const at::Tensor mean = keys.mean(0, /*keepdim=*/true);
  return mean + noise * (std::sqrt(energy) * mean.norm() / noise.norm());
}

at::Tensor leading_mean_key(const at::Tensor& keys, std::int64_t directions) {
  const at::Tensor wide = keys.to(at::kDouble);
  const at::Tensor rows = std::get<2>(at::linalg_svd(wide, /*full_matrices=*/false));
  const at::Tensor leading = rows.narrow(0, 0, std::min(directions, rows.size(0)));
  return wide.mean(0, /*keepdim=*/true).matmul(leading.t()).matmul(leading).to(keys.scalar_type());
}

Row attack_collusion(AttackContext& context, const Budget& budget) {
  const auto leaked = context.issued(budget.leaked);
  std::vector<at::Tensor> found;
  for (std::size_t layer = 0; layer < leaked[0].size(); ++layer) {
    std::vector<at::Tensor> rows;
    double std = 0.0;
    for (const auto& key : leaked) {
      rows.push_back(key[layer]);
      std += expanded_std(key[layer][0], 1) / static_cast<double>(leaked.size());
    }
    found.push_back(of_size(combined_key(context, budget.variant, at::cat(rows), layer), std));
  }
  Row row;
  row.access = context.judge_key(found);
  return row;
}

}  // namespace spankey
