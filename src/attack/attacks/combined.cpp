// C1: attacks at once. Rejections are ignored (O1) after the biases have been trained (W2), after biases and a free key
// (K5) have been trained together, or after the factors of K7 together with a last layer that is learnt anew: whoever
// learns that one needs no order of the features in front of it.
#include <ATen/ATen.h>

#include <functional>

#include "attack/attacks/chosen_weights.h"
#include "attack/attacks/fine_tune.h"
#include "attack/key_attacks/free_multiplier.h"
#include "attack/key_attacks/search_key.h"
#include "attack/losses.h"
#include "attack/weights_guard.h"
#include "base/error.h"

namespace spankey {
namespace {

// What is trained together: some of the network, and what stands where a key would.
struct Parts {
  std::vector<at::Tensor> of_network, of_injection;
  double rate_of_network, rate_of_injection;
  std::function<Injection()> injection;  // made for each pass
};

Parts parts_of(AttackContext& context, const std::string& variant) {
  if (variant == "biases")
    return {biases(context.network()), {}, rate_of_biases, 0.0, [] { return Injection::none(); }};
  if (variant == "biases and key") {
    const auto key = context.normal_keys(0);
    return {biases(context.network()), key, rate_of_biases, rate_of_free_key,
            [&context, key] { return context.keyed(key); }};
  }
  SPANKEY_CHECK(variant == "factors and last layer");
  const auto factors = free_multipliers(context);
  return {last_layer(context), factors, rate_of_last_layer, rate_of_free_multiplier,
          [layers = context.key_entry().layers, factors] { return Injection::of_multipliers(layers, factors); }};
}

}  // namespace

Row attack_combined(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  const auto parts = parts_of(context, budget.variant);
  auto leaves = parts.of_network;
  leaves.insert(leaves.end(), parts.of_injection.begin(), parts.of_injection.end());
  std::vector<double> rates(parts.of_network.size(), parts.rate_of_network);
  rates.resize(leaves.size(), parts.rate_of_injection);
  const WeightsGuard guard(network, leaves);
  if (budget.variant == "factors and last layer") draw_last_layer_anew(context);
  const auto answers = [&](const at::Tensor& x) { return network.forward(x, parts.injection()); };
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
