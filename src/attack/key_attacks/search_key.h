// The search that K5 and K6 share: Adam on one key for each keyed layer.
#pragma once

#include <functional>
#include <vector>

#include "attack/context.h"

namespace spankey {

inline constexpr double rate_of_free_key = 0.05;

// `start` is (1, d) for each keyed layer, or one vector for all of them (key_shapes.h). A key is brought to the
// standard deviation `std` in every step, so that the search stays on keys of that size, or left as it is where `std`
// is 0. `loss` is that of a batch's output, whose labels are undefined where the attacker has none.
Row search_key(AttackContext& context, const std::vector<at::Tensor>& start, const Images& images, double std,
               std::int64_t steps,
               const std::function<at::Tensor(const Output& output, const at::Tensor& labels)>& loss);

}  // namespace spankey
