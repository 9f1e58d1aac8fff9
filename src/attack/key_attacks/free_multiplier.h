// The factors that K7 and C1 search for.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "attack/context.h"

namespace spankey {

inline constexpr double rate_of_free_multiplier = 0.02;

// Ones that require gradients, (1, d) for each keyed layer.
std::vector<at::Tensor> free_multipliers(AttackContext& context);

}  // namespace spankey
