// Puts the features of an activation into another order.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace spankey {

// Part p is the next rows[p] rows of `h`, which is dense. orders[p] is (d) int64 on the device of h, a permutation of
// 0 .. d-1 where d is the number of elements of one sample, or empty, which leaves the rows as they are. Element i of a
// row becomes its element order[i], both counted in the order of h's memory. The gradient goes back to where each
// element came from. The result has h's shape, type and memory format. Differentiable any number of times in h.
at::Tensor permute_elements(const at::Tensor& h, at::TensorList orders, at::IntArrayRef rows);

}  // namespace spankey
