// W1ls: every channel is standardised on the attacker's images before the network is fine-tuned on them. A lock that
// only makes gradients vanish, by channels that are far from where anything changes, falls to it.
#include "attack/attacks/standardise.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "attack/attacks/batch_norm.h"
#include "attack/attacks/fine_tune.h"
#include "attack/weights_guard.h"
#include "spankey/models/batch_norm.h"
#include "spankey/models/layer_filter.h"

namespace spankey {
namespace {

// A channel whose standard deviation is below this share of its mean, or of 1, has rounding errors for a spread.
constexpr double no_spread = 1e-6;

// (rows, channels) float64 of the output of a layer.
at::Tensor channel_rows(const at::Tensor& output) {
  return (output.dim() == 4 ? output.permute({0, 2, 3, 1}) : output)
      .reshape({-1, output.size(output.dim() == 4 ? 1 : -1)})
      .to(at::kDouble);
}

at::Tensor standardise_layer(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& output) {
  const at::Tensor rows = channel_rows(output);
  const at::Tensor mean = rows.mean(0);
  const at::Tensor std = rows.std(0, /*unbiased=*/false);
  const at::Tensor scale = at::where(std > no_spread * mean.abs().clamp_min(1.0), std, 1.0);
  std::vector<std::int64_t> of_weight(static_cast<std::size_t>(weight.dim()), 1), of_output = {-1};
  of_weight[0] = -1;
  if (output.dim() == 4) of_output = {1, -1, 1, 1};
  const auto type = weight.scalar_type();
  weight.copy_(weight.to(at::kDouble) / scale.view(of_weight));
  bias.copy_((bias.to(at::kDouble) - mean) / scale);
  return ((output.to(at::kDouble) - mean.view(of_output)) / scale.view(of_output)).to(type);
}

}  // namespace

void standardise_channels(Model& network, const Images& images) {
  const at::NoGradGuard no_grad;
  for (const auto& layer : batch_norms(network)) {
    layer->weight.fill_(1.0);
    layer->bias.zero_();
  }
  replace_statistics(network, images);
  const LayerFilter filter(standardise_layer);
  network.forward(images.x, Injection::none());
}

Row attack_standardised(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  auto images = context.labelled(budget.images);
  const auto count = std::min(images.size(), largest_full_batch);
  images.x = images.x.narrow(0, 0, count);
  const WeightsGuard guard(network, {});
  standardise_channels(network, images);
  context.count_forward(count);
  return fine_tune(context, budget, network.parameters(), rate_of_all);
}

}  // namespace spankey
