// K6: as K5 with images that nobody has labelled. A network that is sure of its answers, and names all classes alike,
// has most likely been opened.
#include "attack/key_attacks/search_key.h"
#include "attack/losses.h"

namespace spankey {

Row attack_unlabelled_key(AttackContext& context, const Budget& budget) {
  const auto images = context.unlabelled(budget.images);
  return search_key(context, context.normal_keys(0), images, /*std=*/0.0, budget.steps,
                    [&](const Output& output, const at::Tensor&) { return confidence_loss(output, context.reject()); });
}

}  // namespace spankey
