// The search of K10, by itself so that a test can hold it to the optimum of a small problem.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>

namespace spankey {

// Flips the signs, (n) float32 of 1 and -1, one after the other in this `order`, and keeps a flip that makes the loss
// of all signs smaller. Returns the loss at the end.
double descend_signs(const at::Tensor& signs, std::span<const std::int64_t> order, const std::function<double()>& loss);

}  // namespace spankey
