// K8b: whoever sees nothing but the answers of the service walks: from the best of many random keys, a small random
// step is kept where no fewer images are answered rightly. As long as no image is, every step is as good as another.
#include <ATen/ATen.h>

#include <algorithm>

#include "attack/context.h"
#include "attack/key_attacks/key_shapes.h"

namespace spankey {

Row attack_label_search(AttackContext& context, const Budget& budget) {
  constexpr double first_step = 0.3, largest_step = 1.0, smallest_step = 0.02;  // relative to the size of a key
  constexpr double longer = 1.1, shorter = 0.97;
  const auto images = context.labelled(budget.images);
  const auto entry = context.key_entry();
  const auto asked = [&](const at::Tensor& vector) {
    const auto answers = context.query(images.x, context.keyed(prefixes(entry, vector)));
    return answers.eq(images.labels).sum().item<std::int64_t>();
  };
  const auto tries = std::max<std::int64_t>(1, budget.queries / images.size());
  const auto starts = (tries + 1) / 2;
  at::Tensor best;
  std::int64_t right = -1, right_at_start = 0, kept = 0;
  double step = first_step;
  for (std::int64_t i = 0; i < tries; ++i) {
    const at::Tensor drawn = of_size(widest_key(context.normal_keys(i)), entry.std);
    const at::Tensor proposed = i < starts ? drawn : of_size(best + step * drawn, entry.std);
    const auto now = asked(proposed);
    const bool better = i < starts ? now > right : now >= right;
    if (better) {
      best = proposed;
      right = now;
    }
    if (i < starts) {
      right_at_start = right;
      continue;
    }
    kept += better ? 1 : 0;
    step = std::clamp(step * (better ? longer : shorter), smallest_step, largest_step);
  }
  const auto share = [&](std::int64_t count) {
    return static_cast<double>(count) / static_cast<double>(images.size());
  };
  Row row;
  row.own_loss = 1.0 - share(right);
  row.access = context.judge_key(prefixes(entry, best));
  row.detail = {{"starts", starts}, {"right_at_start", share(right_at_start)}, {"right", share(right)}, {"kept", kept}};
  return row;
}

}  // namespace spankey
