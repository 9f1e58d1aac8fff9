#include "attack/key_attacks/search_key.h"

#include <ATen/ATen.h>

#include "attack/key_attacks/key_shapes.h"
#include "spankey/ops/gram.h"

namespace spankey {

Row search_key(AttackContext& context, const std::vector<at::Tensor>& start, const Images& images, double std,
               std::int64_t steps,
               const std::function<at::Tensor(const Output& output, const at::Tensor& labels)>& loss) {
  auto& network = context.network();
  const auto entry = context.key_entry();
  std::vector<at::Tensor> leaves;
  for (const auto& key : start) leaves.push_back(key.clone().requires_grad_(true));
  const auto keys = [&] {
    std::vector<at::Tensor> scaled;
    for (const auto& leaf : leaves) scaled.push_back(rescale_differentiably(leaf, std));
    return scaled.size() == entry.widths.size() ? scaled : prefixes(entry, scaled[0]);
  };
  Row row;
  row.own_loss = context.search(
      leaves, images,
      [&](const Images& batch) { return loss(network.forward(batch.x, context.keyed(keys())), batch.labels); },
      rate_of_free_key, steps);
  const at::NoGradGuard no_grad;
  row.access = context.judge_key(keys());
  for (const auto& leaf : leaves) row.detail["std"].push_back(leaf.std().item<double>());
  return row;
}

}  // namespace spankey
