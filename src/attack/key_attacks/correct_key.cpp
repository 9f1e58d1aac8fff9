// R0: valid keys, the same as the evaluation's. No attack, but what every attack is measured against.
#include "attack/context.h"

namespace spankey {

Row attack_correct_key(AttackContext& context, const Budget& budget) {
  const auto& keys = context.owners_keys();
  Row row;
  for (std::int64_t i = 0; i < keys.correct_keys(budget.keys); ++i)
    row.access += context.judge(keys.evaluation_correct(i, evaluation_batch));
  return row;
}

}  // namespace spankey
