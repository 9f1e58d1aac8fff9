// C1: attacks at once. Rejections are ignored (O1) after the biases have been trained (W2), or after biases and a free
// key (K5) have been trained together, each at its own rate.
#include <ATen/ATen.h>

#include "attack/attacks/chosen_weights.h"
#include "attack/attacks/fine_tune.h"
#include "attack/key_attacks/search_key.h"
#include "attack/losses.h"
#include "attack/weights_guard.h"
#include "base/error.h"

namespace spankey {

Row attack_combined(AttackContext& context, const Budget& budget) {
  SPANKEY_CHECK(budget.variant == "biases" || budget.variant == "biases and key");
  auto& network = context.network();
  auto leaves = biases(network);
  std::vector<double> rates(leaves.size(), rate_of_biases);
  std::vector<at::Tensor> key;
  if (budget.variant == "biases and key") key = context.normal_keys(0);
  for (const auto& one : key) {
    leaves.push_back(one);
    rates.push_back(rate_of_free_key);
  }
  const WeightsGuard guard(network, leaves);
  const auto answers = [&](const at::Tensor& x) {
    return network.forward(x, key.empty() ? Injection::none() : context.keyed(key));
  };
  const auto loss = [&](const Images& batch) { return shipped_loss(answers(batch.x), batch.labels, context.reject()); };
  Row row;
  row.own_loss = context.search(leaves, context.labelled(budget.images), loss, rates, budget.steps);
  row.access = context.judge(
      [&](const at::Tensor& x) {
        return Output{answers(x).logits.narrow(1, 0, context.classes()), {}, {}};
      },
      RejectKind::none);
  return row;
}

}  // namespace spankey
