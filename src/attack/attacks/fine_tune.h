// Trains a stolen network on without a key, for W1, W2, W1ls and fine-pruning.
#pragma once

#include <vector>

#include "attack/context.h"

namespace spankey {

inline constexpr double rate_of_last_layer = 1e-2, rate_of_all = 1e-3, rate_of_biases = 1e-2;

// Returns the network's last layer, with the reject head where there is one.
std::vector<at::Tensor> last_layer(AttackContext& context);
// Draws it anew by the network's own law. Whoever calls it puts the network back (WeightsGuard).
void draw_last_layer_anew(AttackContext& context);

// Trains `leaves` of the network, which require gradients, for right answers without a key to `images`. Returns the
// loss at the end.
double train_on(AttackContext& context, const Images& images, std::int64_t steps, const std::vector<at::Tensor>& leaves,
                double lr);
// Does the same with the labelled images of the budget, and returns the outcome. The network is put back.
Row fine_tune(AttackContext& context, const Budget& budget, const std::vector<at::Tensor>& leaves, double lr);

}  // namespace spankey
