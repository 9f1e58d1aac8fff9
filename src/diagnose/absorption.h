// How far a network has absorbed the key instead of needing it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "diagnose/key_space.h"
#include "spankey/models/model.h"

namespace spankey {

// Returns (accuracy - chance) / (accuracy with a valid key - chance), where chance is the share of the commonest class.
// It is 1 where the key makes no difference, and 0 where the network is no better than guessing without it. It may
// exceed 1. NaN where a valid key gives no more than chance. For networks that can reject, the accuracies are those
// with the rejection ignored.
double absorption(double accuracy, double valid_accuracy, double chance);

// Gradients of the margin by the key, sample by sample.
struct GradientIndex {
  at::Tensor index;       // (n) (|gP|^2 / m) / (|g - gP|^2 / (d - m)), null F(m, d - m). NaN where g = 0
  at::Tensor p_value;     // (n) P(F >= index), NaN likewise
  at::Tensor mean_share;  // (n) (g.u)^2 / |gP|^2, null Beta(1/2, (m-1)/2), mean 1/m. NaN where gP = 0
  at::Tensor mean_share_p_value;
};
// `gradients` is (n, d). Indices are capped at `index_cap`, which stands for "nothing outside the span".
constexpr double index_cap = 1e6;
GradientIndex gradient_index(const at::Tensor& gradients, const KeySlot& slot);

// The linear operator that an activation meets first, for the networks with such an operator behind an injection point.
struct FirstOperator {
  std::string_view model;
  std::int64_t point;
  std::string_view parameter;  // (o, i) of a linear layer, (o, i, kh, kw) of a convolution of stride 1
  std::int64_t padding;
};
std::optional<FirstOperator> first_operator(const std::string& model, std::int64_t point);

// AI_w = (|W Q|^2 / m) / ((|W|^2 - |W Q|^2) / (d - m)). It is below 1 where the operator has learned to overlook the
// span.
struct WeightIndex {
  double index;
  double p_low,
      p_high;  // P(F <= index) and P(F >= index), F(m o, (d-m) o) for o independent rows, NaN for convolutions
};
// `shape` is that of one activation, (D) or (C, H, W). `frame` is (m, d). The first d columns of orthonormal rows
// suffice, because they are made orthonormal again.
WeightIndex weight_index(const at::Tensor& weight, std::int64_t padding, const std::vector<std::int64_t>& shape,
                         const at::Tensor& frame);

// Returns the Jensen-Shannon divergence in bits (0 to 1) of the softmax of two sets of scores, (n, columns) -> (n),
// float64.
at::Tensor js_divergence(const at::Tensor& scores_a, const at::Tensor& scores_b);

// Returns the log-odds a of rejecting a wrong key under gradient flow, da/dt = c lambda / (1 + e^a), a(0) = 0. They
// solve a + e^a = 1 + c lambda t and lie between log(1 + c lambda t / 2) and log(1 + c lambda t).
double reject_bias(double c_lambda_t);

}  // namespace spankey
