// Moves a wrong key the way an attacker with the weights would move it (deny.adversarial_steps).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace spankey {

// Returns the gradient of the loss at `keys`, of the same shapes.
using KeyGradient = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& keys)>;

// Takes `steps` steps of descent by sign, each key of the list on its own,
//   k <- k' * |k| / |k'|   with   k' = k - lr * rms(k) * sign(gradient of k).
// The Euclidean norm of a key, and its root mean square rms(k), stay what they were. `keys` are on the CPU. Sums are in
// float64 and in a fixed order.
std::vector<at::Tensor> sign_descent(std::vector<at::Tensor> keys, std::int64_t steps, double lr,
                                     const KeyGradient& gradient);

}  // namespace spankey
