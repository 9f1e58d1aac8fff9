#include "diagnose/absorption.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/statistics.h"

namespace spankey {
namespace {

constexpr double undefined_index = std::numeric_limits<double>::quiet_NaN();

// Applies `f` to each element. NaN stays.
template <class F>
at::Tensor each(const at::Tensor& values, F&& f) {
  at::Tensor result = at::empty_like(values, at::MemoryFormat::Contiguous);
  const at::Tensor in = values.contiguous();
  const double* from = in.const_data_ptr<double>();
  double* to = result.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < in.numel(); ++i) to[i] = std::isnan(from[i]) ? undefined_index : f(from[i]);
  return result;
}

constexpr std::array<FirstOperator, 4> first_operators = {{
    {"mlp", 0, "net.0.weight", 0},
    {"small_cnn", 0, "conv1.weight", 1},
    {"small_cnn", 1, "conv2.weight", 1},
    {"small_cnn", 2, "fc.weight", 0},
}};

// Return |W q|^2 for each row of (rows, d), and |W|^2 of the whole operator.
at::Tensor image_energy(const at::Tensor& weight, std::int64_t padding, const std::vector<std::int64_t>& shape,
                        const at::Tensor& rows) {
  if (weight.dim() == 2) return rows.matmul(weight.t()).square().sum(1);
  const at::Tensor images = rows.view({rows.size(0), shape[0], shape[1], shape[2]});
  return at::conv2d(images, weight, {}, 1, padding).square().sum({1, 2, 3});
}

double operator_energy(const at::Tensor& weight, std::int64_t padding, const std::vector<std::int64_t>& shape) {
  if (weight.dim() == 2) return weight.square().sum().item<double>();
  // Each weight counts once for every output for which it meets a pixel of the input.
  const at::Tensor ones = at::ones({1, shape[0], shape[1], shape[2]}, weight.options());
  return at::conv2d(ones, weight.square(), {}, 1, padding).sum().item<double>();
}

}  // namespace

double absorption(double accuracy, double valid_accuracy, double chance) {
  return valid_accuracy > chance ? (accuracy - chance) / (valid_accuracy - chance) : undefined_index;
}

GradientIndex gradient_index(const at::Tensor& gradients, const KeySlot& slot) {
  const auto energy = span_energy(gradients, slot);
  const auto m = static_cast<double>(slot.dimension()), d = static_cast<double>(slot.width());
  const at::Tensor nothing = at::full_like(energy.total, undefined_index);
  const at::Tensor outside = (energy.total - energy.in_span).clamp_min(0);
  const at::Tensor capped = (energy.in_span / m / (outside / (d - m))).clamp_max(index_cap);
  GradientIndex result;
  result.index = at::where(energy.total.gt(0), capped, nothing);
  result.p_value = each(result.index, [&](double f) { return f_tail(m, d - m, f); });
  result.mean_share = at::where(energy.in_span.gt(0), energy.along_mean / energy.in_span, nothing);
  result.mean_share_p_value =
      each(result.mean_share, [&](double share) { return m > 1 ? beta_tail(0.5, (m - 1) / 2, share) : 1.0; });
  return result;
}

std::optional<FirstOperator> first_operator(const std::string& model, std::int64_t point) {
  for (const auto& entry : first_operators)
    if (entry.model == model && entry.point == point) return entry;
  return std::nullopt;
}

WeightIndex weight_index(const at::Tensor& weight, std::int64_t padding, const std::vector<std::int64_t>& shape,
                         const at::Tensor& frame) {
  const at::NoGradGuard no_grad;
  const at::Tensor w = weight.to(frame.device(), at::kDouble);
  const at::Tensor rows = orthonormal_rows(frame.to(at::kDouble));
  const auto m = static_cast<double>(rows.size(0)), d = static_cast<double>(rows.size(1));
  const double inside = image_energy(w, padding, shape, rows).sum().item<double>();
  const double outside = std::max(0.0, operator_energy(w, padding, shape) - inside);
  WeightIndex result{undefined_index, undefined_index, undefined_index};
  if (inside + outside == 0 || m == d) return result;
  result.index = std::min(index_cap, inside / m / (outside / (d - m)));
  if (w.dim() == 2) {
    const auto o = static_cast<double>(w.size(0));
    result.p_low = f_cdf(m * o, (d - m) * o, result.index);
    result.p_high = f_tail(m * o, (d - m) * o, result.index);
  }
  return result;
}

at::Tensor js_divergence(const at::Tensor& scores_a, const at::Tensor& scores_b) {
  const at::Tensor log_p = scores_a.to(at::kDouble).log_softmax(1), log_q = scores_b.to(at::kDouble).log_softmax(1);
  const at::Tensor log_mean = at::logaddexp(log_p, log_q) - std::log(2.0);
  const at::Tensor nats = ((log_p.exp() * (log_p - log_mean)) + (log_q.exp() * (log_q - log_mean))).sum(1) / 2;
  return nats.clamp_min(0) / std::log(2.0);
}

double reject_bias(double c_lambda_t) {
  const double y = 1 + c_lambda_t;
  double a = std::log(y);  // too large. The function is convex, so Newton's steps go down to the solution
  for (int i = 0; i < 50; ++i) a -= (a + std::exp(a) - y) / (1 + std::exp(a));
  return a;
}

}  // namespace spankey
