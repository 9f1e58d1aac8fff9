// K7: the factor of each element at the keyed layers, found by gradient from 1. It is bound by no law of the keys: not
// by gamma, and not by the limits of the multiplier.
#include "attack/key_attacks/free_multiplier.h"

#include <ATen/ATen.h>

#include "attack/losses.h"

namespace spankey {

std::vector<at::Tensor> free_multipliers(AttackContext& context) {
  std::vector<at::Tensor> factors;
  for (const auto width : context.key_entry().widths) factors.push_back(at::ones({1, width}).requires_grad_(true));
  return factors;
}

Row attack_free_multiplier(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  const auto entry = context.key_entry();
  const auto images = context.labelled(budget.images);
  const auto leaves = free_multipliers(context);
  const auto loss = [&](const Images& batch) {
    const auto output = network.forward(batch.x, Injection::of_multipliers(entry.layers, leaves));
    return shipped_loss(output, batch.labels, context.reject());
  };
  Row row;
  row.own_loss = context.search(leaves, images, loss, rate_of_free_multiplier, budget.steps);
  const at::NoGradGuard no_grad;
  row.access = context.judge(Injection::of_multipliers(entry.layers, leaves));
  return row;
}

}  // namespace spankey
