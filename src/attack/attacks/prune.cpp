// W4: the smallest weights of the whole network are set to 0. Whatever denies may sit in few of them. W4f: the pruned
// network is fine-tuned as a whole, which may fill the gaps again.
#include "attack/attacks/prune.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>

#include "attack/attacks/chosen_weights.h"
#include "attack/attacks/fine_tune.h"
#include "attack/attacks/weight_row.h"
#include "attack/weights_guard.h"

namespace spankey {
namespace {

// "30 % pruned" -> 0.3
double pruned_share(const Budget& budget) {
  return std::stod(budget.variant) / 100.0;
}

}  // namespace

std::int64_t prune(const std::vector<at::Tensor>& weights, double share) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> flat;
  for (const auto& weight : weights) flat.push_back(weight.flatten());
  const at::Tensor all = at::cat(flat);
  const auto cut = static_cast<std::int64_t>(std::llround(share * static_cast<double>(all.numel())));
  const auto order = std::get<1>(at::sort(all.abs(), /*stable=*/true, /*dim=*/0, /*descending=*/false));
  const at::Tensor left = all.index_fill(0, order.narrow(0, 0, cut), 0.0);
  std::int64_t begin = 0;
  for (const auto& weight : weights) {
    weight.copy_(left.narrow(0, begin, weight.numel()).view(weight.sizes()));
    begin += weight.numel();
  }
  return all.numel() - cut;
}

Row attack_prune(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  const WeightsGuard guard(network, {});
  const auto kept = prune(matrices(network), pruned_share(budget));
  auto row = row_of_weights(context);
  row.detail["kept_weights"] = kept;
  return row;
}

Row attack_fine_prune(AttackContext& context, const Budget& budget) {
  auto& network = context.network();
  const auto leaves = network.parameters();
  const WeightsGuard guard(network, leaves);
  const auto kept = prune(matrices(network), pruned_share(budget));
  const auto loss = train_on(context, context.labelled(budget.images), budget.steps, leaves, rate_of_all);
  auto row = row_of_weights(context);
  row.own_loss = loss;
  row.detail["kept_weights"] = kept;
  return row;
}

}  // namespace spankey
