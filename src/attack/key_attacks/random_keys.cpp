// K1: many Gaussian keys of the right size, one of which may open the network. Each is tried on the same labelled
// images, and the best one counts.
#include <ATen/ATen.h>

#include "attack/context.h"
#include "attack/key_attacks/key_shapes.h"
#include "base/statistics.h"

namespace spankey {
namespace {

// A key is said to open the network where it gets half of the images right.
constexpr double opens = 0.5;

std::vector<at::Tensor> random_key(AttackContext& context, std::int64_t number) {
  auto keys = context.normal_keys(number);
  for (at::Tensor& key : keys) key = of_size(key, context.key_entry().std);
  return keys;
}

}  // namespace

Row attack_random_keys(AttackContext& context, const Budget& budget) {
  const auto images = context.labelled(budget.images);
  double best = -1.0;
  std::int64_t best_key = 0, opened = 0;
  for (std::int64_t i = 0; i < budget.keys; ++i) {
    const auto answers = context.query(images.x, context.keyed(random_key(context, i)));
    const double right = answers.eq(images.labels).to(at::kDouble).mean().item<double>();
    opened += right >= opens ? 1 : 0;
    if (right > best) {
      best = right;
      best_key = i;
    }
  }
  const auto interval = clopper_pearson(opened, budget.keys);
  Row row;
  row.own_loss = 1.0 - best;
  row.access = context.judge_key(random_key(context, best_key));
  row.detail = {{"opened", opened}, {"keys", budget.keys}, {"opened_ci95", {interval.low, interval.high}}};
  return row;
}

}  // namespace spankey
