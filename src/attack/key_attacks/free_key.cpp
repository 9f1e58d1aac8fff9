// K5: one vector for each keyed layer, found by gradient on a few labelled images. The attacker needs no secret: the
// key is free, not a combination of the basis.
#include <ATen/ATen.h>

#include "attack/budgets.h"
#include "attack/context.h"
#include "attack/key_attacks/key_shapes.h"
#include "attack/key_attacks/search_key.h"
#include "attack/losses.h"
#include "base/error.h"

namespace spankey {

Row attack_free_key(AttackContext& context, const Budget& budget) {
  SPANKEY_CHECK(budget.variant.empty() || budget.variant == "zero" || budget.variant == "clamp" ||
                budget.variant == "slot" || budget.variant == budgets::augmented_variant);
  const auto images = context.labelled(budget);
  auto start = context.normal_keys(0);
  if (budget.variant == "zero")
    for (at::Tensor& key : start) key.zero_();
  if (budget.variant == "slot") start = {widest_key(start)};
  const double std = budget.variant == "clamp" ? context.key_entry().std : 0.0;  // 0: keys stay as they are found
  return search_key(context, start, images, std, budget.steps, [&](const Output& output, const at::Tensor& labels) {
    return shipped_loss(output, labels, context.reject());
  });
}

}  // namespace spankey
