// O2b: a table from the class that the no-key pass names to the class that it means.
#include "attack/attacks/remap.h"

#include <ATen/ATen.h>

#include "attack/attacks/readout.h"

namespace spankey {

at::Tensor majority_table(const at::Tensor& answers, const at::Tensor& labels, std::int64_t classes) {
  const at::Tensor counts = at::bincount(answers * classes + labels, {}, classes * classes).view({classes, classes});
  const at::Tensor most = counts.amax(1, /*keepdim=*/true);
  const at::Tensor alone = counts.eq(most).sum(1).eq(1).logical_and(most.squeeze(1).gt(0));
  return at::where(alone, counts.argmax(1), at::arange(classes, at::kLong));
}

Row attack_remap(AttackContext& context, const Budget& budget) {
  const auto images = context.labelled(budget.images);
  context.count_forward(budget.images);
  const auto answers = class_logits(context, images.x).argmax(1);
  const auto table = majority_table(answers, images.labels, context.classes());
  Row row;
  row.own_loss = table.index_select(0, answers).ne(images.labels).to(at::kDouble).mean().item<double>();
  row.access = judge_readout(context, [&](const at::Tensor& x) {
    const auto mapped = table.index_select(0, class_logits(context, x).argmax(1));
    return at::one_hot(mapped, context.classes()).to(at::kDouble);
  });
  return row;
}

}  // namespace spankey
