// D1: whoever has one valid key teaches a fresh network without keys what the keyed one answers. Nothing of the lock
// is left in it, and no list of revoked keys reaches it.
#include "attack/attacks/distil.h"

#include <ATen/ATen.h>

#include "attack/student.h"

namespace spankey {

Images lesson_with_key(AttackContext& context, const Images& images, const Injection& key) {
  return {images.x, answers_in_batches(images.x, [&](const at::Tensor& x) {
            return class_probabilities(context.query_scores(x, key), context.classes());
          })};
}

Row attack_distil(AttackContext& context, const Budget& budget) {
  const auto images = context.unlabelled(budget.images);
  const auto lesson = lesson_with_key(context, images, context.keyed(context.leaked(budget.leaked)[0]));
  const auto student = context.fresh_network();
  Row row;
  row.own_loss = teach(context, *student, lesson, budget.steps);
  row.access =
      context.judge([&](const at::Tensor& x) { return student->forward(x, Injection::none()); }, RejectKind::none);
  return row;
}

}  // namespace spankey
