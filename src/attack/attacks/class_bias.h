// The convex problem of O2a, by itself so that a test can hold its solution to the first-order condition.
#pragma once

#include <ATen/core/Tensor.h>

namespace spankey {

inline constexpr double class_bias_penalty = 1e-3;

// The b (C) float64 that minimises the mean cross entropy of `logits` + b, plus class_bias_penalty |b|^2, to a gradient
// below 1e-8. `logits`: (n, C) float64, `labels`: (n) int64. Newton's method with halved steps. Throws SearchFailed.
at::Tensor best_class_bias(const at::Tensor& logits, const at::Tensor& labels);

// The value of that objective at `bias`.
double class_bias_objective(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& bias);

}  // namespace spankey
