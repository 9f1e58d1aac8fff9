// K2: the owner's families of wrong keys, as `spankey eval --families all` draws them.
#include <algorithm>

#include "attack/context.h"
#include "config/names.h"

namespace spankey {

Row attack_key_families(AttackContext& context, const Budget& budget) {
  const auto& keys = context.owners_keys();
  const auto& family = find_key_family(budget.variant);
  Row row;
  double best = 0.0;
  for (std::int64_t i = 0; i < budget.keys; ++i) {
    const auto one = context.judge(keys.evaluation_wrong(i, evaluation_batch, family));
    best = std::max(best, static_cast<double>(one.correct) / static_cast<double>(one.samples));
    row.access += one;
  }
  row.detail = {{"best_key", best}, {"made_of_a_valid_key", is_derived_family(family.name)}};
  return row;
}

}  // namespace spankey
