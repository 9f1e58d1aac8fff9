// W5: weights rounded to few bits, as whoever wants a smaller network does anyway. W5n: Gaussian noise on the weights.
// Either tells how much of utility and of denial hangs on their exact values.
#include "attack/attacks/quantise.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>

#include "attack/attacks/chosen_weights.h"
#include "attack/attacks/weight_row.h"
#include "attack/weights_guard.h"

namespace spankey {
namespace {

constexpr int bits_of_weights = 32;

}  // namespace

at::Tensor rounded(const at::Tensor& weight, int bits) {
  const double largest = weight.numel() == 0 ? 0.0 : weight.abs().max().item<double>();
  if (bits >= bits_of_weights || largest == 0.0) return weight.clone();
  const double step = largest / (std::exp2(bits - 1) - 1.0);
  return ((weight.to(at::kDouble) / step).round() * step).to(weight.scalar_type());
}

Row attack_quantise(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  const WeightsGuard guard(network, {});
  for (const auto& weight : matrices(network)) weight.copy_(rounded(weight, std::stoi(budget.variant)));
  return row_of_weights(context);
}

Row attack_weight_noise(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  const double share = std::stod(budget.variant);
  const WeightsGuard guard(network, {});
  std::int64_t tensor = 0;
  for (const auto& weight : matrices(network)) {
    at::Tensor noise = at::empty({weight.numel()}, at::kFloat);
    context.stream(tensor++).fill_normal({noise.mutable_data_ptr<float>(), static_cast<std::size_t>(noise.numel())});
    const double rms = weight.to(at::kDouble).square().mean().sqrt().item<double>();
    weight.add_(noise.view(weight.sizes()).to(weight.device()), share * rms);
  }
  return row_of_weights(context);
}

}  // namespace spankey
