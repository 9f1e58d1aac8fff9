// The parts of K9, by themselves so that they can be held to the reference implementation's numbers
// (security_attacks_05.py): searches for coefficients by somebody who has the secret basis.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "attack/context.h"
#include "attack/fit.h"

namespace spankey {

inline constexpr double alpha_search_lr = 0.15;

// The key of each layer, (1, d_l), from coefficients `alphas`, (1, m) for each slot of coefficients. A key is formed as
// a whole slot and brought to the standard deviation `std` by a factor through which gradients flow.
std::vector<at::Tensor> keys_of_alphas(const KeyRules& rules, const std::vector<at::Tensor>& alphas, double std);

// The loss of the search by gradient, as a function of `alphas` as they then are. Keeps references.
BatchLoss alpha_loss(Model& network, const KeyEntry& entry, const KeyRules& rules,
                     const std::vector<at::Tensor>& alphas, RejectKind reject);

// Keeps coefficients within (0, 1), 1e-6 off its ends. The reference does so after each step.
void keep_inside(const std::vector<at::Tensor>& alphas);

}  // namespace spankey
