// O2a: one number a class, added to the class logits of the no-key pass. It undoes whatever a deny loss did to the
// order of the classes as a whole.
#include "attack/attacks/class_bias.h"

#include <ATen/ATen.h>

#include <cmath>

#include "attack/attacks/readout.h"

namespace spankey {

double class_bias_objective(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& bias) {
  return (at::cross_entropy_loss(logits + bias, labels) + class_bias_penalty * bias.square().sum()).item<double>();
}

at::Tensor best_class_bias(const at::Tensor& logits, const at::Tensor& labels) {
  constexpr int most_steps = 200;
  constexpr double small_gradient = 1e-8, smallest_step = 1e-12;
  const auto n = static_cast<double>(logits.size(0));
  const at::Tensor wanted = at::one_hot(labels, logits.size(1)).to(at::kDouble).mean(0);
  at::Tensor bias = at::zeros({logits.size(1)}, at::kDouble);
  double value = class_bias_objective(logits, labels, bias);
  for (int step = 0; step < most_steps; ++step) {
    if (!std::isfinite(value)) throw SearchFailed("the loss of the class biases is not finite");
    const at::Tensor p = at::softmax(logits + bias, 1);
    const at::Tensor gradient = p.mean(0) - wanted + 2 * class_bias_penalty * bias;
    if (gradient.norm().item<double>() < small_gradient) break;
    const at::Tensor curvature = at::diag(p.mean(0) + 2 * class_bias_penalty) - p.t().matmul(p) / n;
    const at::Tensor direction = at::linalg_solve(curvature, gradient);
    double length = 1.0, tried = class_bias_objective(logits, labels, bias - direction);
    while (!(tried <= value) && length > smallest_step)
      tried = class_bias_objective(logits, labels, bias - direction * (length /= 2));
    if (length <= smallest_step) break;
    bias = bias - direction * length;
    value = tried;
  }
  return bias;
}

Row attack_class_bias(AttackContext& context, const Budget& budget) {
  const auto images = context.labelled(budget.images);
  const auto logits = class_logits(context, images.x);
  context.count_forward(budget.images);
  const auto bias = best_class_bias(logits, images.labels);
  Row row;
  row.own_loss = class_bias_objective(logits, images.labels, bias);
  row.access = judge_readout(context, [&](const at::Tensor& x) { return class_logits(context, x) + bias; });
  return row;
}

}  // namespace spankey
