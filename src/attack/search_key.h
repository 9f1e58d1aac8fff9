// The search that K5 and K6 share: Adam on one key for each keyed layer.
#pragma once

#include <functional>
#include <vector>

#include "attack/context.h"

namespace spankey {

// From `start`, (1, d) for each keyed layer. `std`: what a key is brought to in every step, so that the search stays on
// keys of that size; 0: none. `loss`: of a batch's output, labels undefined where the attacker has none.
Row search_key(AttackContext& context, const std::vector<at::Tensor>& start, const Images& images, double std,
               std::int64_t steps,
               const std::function<at::Tensor(const Output& output, const at::Tensor& labels)>& loss);

}  // namespace spankey
