// The operator spankey::inject. Its CPU implementation is inject_cpu.cpp; a device module adds its own to the
// dispatcher.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace spankey {

constexpr double multiplier_low = 0.1;
constexpr double multiplier_high = 2.0;

// One batch of several passes. Part p is the next rows[p] rows of `h` and has
//   coefficients[p] (rows or 1, m) and bases[p] (m, d): keys coefficients * basis, or
//   coefficients[p] (rows or 1, d) and an empty bases[p]: the keys themselves, or
//   an empty coefficients[p]: no key.
// d = elements of one sample; keys and basis columns in the order of h's memory, which is dense. multiply: h * clamp(1
// + gamma tanh k), else h + gamma k. Differentiable in h and in whole keys; what k is made of is recomputed, not
// stored.
at::Tensor inject(const at::Tensor& h, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows,
                  double gamma, bool multiply);

}  // namespace spankey
