// W1 and W2: the network itself is trained on without a key: its last layer, all of it, or what every layer adds.
#include "attack/attacks/fine_tune.h"

#include <ATen/ATen.h>

#include "attack/attacks/chosen_weights.h"
#include "attack/budgets.h"
#include "attack/losses.h"
#include "attack/weights_guard.h"
#include "base/error.h"

namespace spankey {

namespace {

std::int64_t outputs_of(const AttackContext& context) {
  return context.classes() + (context.reject() == RejectKind::reject_class ? 1 : 0);
}

}  // namespace

std::vector<at::Tensor> last_layer(AttackContext& context) {
  return last_layer(context.network(), outputs_of(context));
}

void draw_last_layer_anew(AttackContext& context) {
  const at::NoGradGuard no_grad;
  const auto last = last_layer(context), drawn = last_layer(*context.network_drawn_anew(), outputs_of(context));
  for (std::size_t i = 0; i < last.size(); ++i) last[i].copy_(drawn[i]);
}

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
  const auto images = context.labelled(budget);
  Row row;
  row.own_loss = train_on(context, images, budget.steps, leaves, lr);
  row.access = context.judge(Injection::none());
  return row;
}

Row attack_fine_tune(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  const bool all = budget.variant == "all" || budget.variant == "rtal" || budget.variant == budgets::augmented_variant;
  const bool drawn_anew = budget.variant == "rtll" || budget.variant == "rtal";
  SPANKEY_CHECK(all || drawn_anew || budget.variant == "fc");
  const WeightsGuard guard(network, {});
  if (drawn_anew) draw_last_layer_anew(context);
  return all ? fine_tune(context, budget, network.parameters(), rate_of_all)
             : fine_tune(context, budget, last_layer(context), rate_of_last_layer);
}

Row attack_biases(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  SPANKEY_CHECK(budget.variant.empty() || budget.variant == "affine");
  const auto leaves = budget.variant == "affine" ? batch_norm_affine(network) : biases(network);
  return fine_tune(context, budget, leaves, rate_of_biases);
}

}  // namespace spankey
