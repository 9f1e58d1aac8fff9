// S0: what the same images are worth without the stolen network: the same architecture from a fresh initial draw. An
// attack that does no better has gained nothing from the theft. BatchNorm is trained with the statistics of the
// batches. `augmented` has 32 augmented copies of each image, as the attacks of that form have.
#include "attack/context.h"
#include "attack/losses.h"

namespace spankey {

Row attack_scratch(AttackContext& context, const Budget& budget) {
  constexpr double lr = 1e-3;
  const auto network = context.fresh_network();
  network->train();
  const auto answers = [&](const at::Tensor& x) { return network->forward(x, Injection::none()); };
  const auto loss = [&](const Images& batch) { return shipped_loss(answers(batch.x), batch.labels, RejectKind::none); };
  const auto images = context.labelled(budget);
  Row row;
  row.own_loss = context.search(network->parameters(), images, loss, lr, budget.steps);
  const EvaluationMode evaluation(*network);
  row.access = context.judge(answers, RejectKind::none);
  return row;
}

}  // namespace spankey
