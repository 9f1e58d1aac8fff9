// W1 and W2: the network itself is trained on without a key: its last layer, all of it, or what every layer adds.
#include "attack/attacks/fine_tune.h"

#include <ATen/ATen.h>

#include "attack/attacks/chosen_weights.h"
#include "attack/budgets.h"
#include "attack/losses.h"
#include "attack/weights_guard.h"
#include "base/error.h"

namespace spankey {

double train_on(AttackContext& context, const Images& images, std::int64_t steps, const std::vector<at::Tensor>& leaves,
                double lr) {
  auto& network = context.network();
  const auto loss = [&](const Images& batch) {
    return shipped_loss(network.forward(batch.x, Injection::none()), batch.labels, context.reject());
  };
  return context.search(leaves, images, loss, lr, steps);
}

Row fine_tune(AttackContext& context, const Budget& budget, const std::vector<at::Tensor>& leaves, double lr) {
  const WeightsGuard guard(context.network(), leaves);
  const auto images = budget.variant == budgets::augmented_variant
                          ? context.augmented(budget.images, budgets::augmented_copies)
                          : context.labelled(budget.images);
  Row row;
  row.own_loss = train_on(context, images, budget.steps, leaves, lr);
  row.access = context.judge(Injection::none());
  return row;
}

Row attack_fine_tune(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  const auto outputs = context.classes() + (context.reject() == RejectKind::reject_class ? 1 : 0);
  const bool all = budget.variant == "all" || budget.variant == "rtal" || budget.variant == budgets::augmented_variant;
  const bool drawn_anew = budget.variant == "rtll" || budget.variant == "rtal";
  SPANKEY_CHECK(all || drawn_anew || budget.variant == "fc");
  const WeightsGuard guard(network, {});
  const auto last = last_layer(network, outputs);
  if (drawn_anew) {
    const auto drawn = last_layer(*context.network_drawn_anew(), outputs);
    for (std::size_t i = 0; i < last.size(); ++i) last[i].copy_(drawn[i]);
  }
  return all ? fine_tune(context, budget, network.parameters(), rate_of_all)
             : fine_tune(context, budget, last, rate_of_last_layer);
}

Row attack_biases(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  SPANKEY_CHECK(budget.variant.empty() || budget.variant == "affine");
  const auto leaves = budget.variant == "affine" ? batch_norm_affine(network) : biases(network);
  return fine_tune(context, budget, leaves, rate_of_biases);
}

}  // namespace spankey
