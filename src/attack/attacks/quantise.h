// Weights with fewer bits.
#pragma once

#include <ATen/core/Tensor.h>

namespace spankey {

// The nearest multiples of s = max |w| / (2^(bits-1) - 1), as integers of so many bits would hold them with one scale a
// tensor. From 32 bits on they are the weights themselves.
at::Tensor rounded(const at::Tensor& weight, int bits);

}  // namespace spankey
