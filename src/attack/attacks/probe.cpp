// O2c: logistic regression on what the last layer sees in the no-key pass.
#include <ATen/ATen.h>

#include "attack/attacks/readout.h"

namespace spankey {

Row attack_probe(AttackContext& context, const Budget& budget) {
  constexpr double lr = 1e-2, penalty = 1e-3;
  auto images = context.labelled(budget.images);
  context.count_forward(budget.images);
  images.x = features(context, images.x);
  const double scale = images.x.std().item<double>();
  if (!(scale > 0.0)) throw SearchFailed("the features of the images are all alike");
  images.x = images.x / scale;
  const auto weight = at::zeros({context.classes(), images.x.size(1)}).requires_grad_(true);
  const auto bias = at::zeros({context.classes()}).requires_grad_(true);
  const auto loss = [&](const Images& batch) {
    return at::cross_entropy_loss(at::linear(batch.x, weight, bias), batch.labels) + penalty * weight.square().sum();
  };
  Row row;
  row.own_loss = context.search({weight, bias}, images, loss, lr, budget.steps);
  row.access = judge_readout(
      context, [&](const at::Tensor& x) { return at::linear(features(context, x) / scale, weight, bias); });
  return row;
}

}  // namespace spankey
