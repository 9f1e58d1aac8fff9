#include "diagnose/key_laws.h"

#include <ATen/ATen.h>

#include <cmath>

#include "base/error.h"
#include "base/statistics.h"

namespace spankey {

// ------------------------------------------------------------------------------------------------- energy split

double EnergySplit::cdf(double rho) const {
  return beta_cdf(m / 2, (d - m) / 2, rho);
}

double EnergySplit::density(double rho) const {
  return beta_pdf(m / 2, (d - m) / 2, rho);
}

double EnergySplit::tail(double rho) const {
  return beta_tail(m / 2, (d - m) / 2, rho);
}

double EnergySplit::chernoff(double rho) const {
  const double p = mean();
  const auto term = [](double a, double b) { return a == 0 ? 0.0 : a * std::log(a / b); };
  return std::exp(-d / 2 * (term(p, rho) + term(1 - p, 1 - rho)));
}

// ------------------------------------------------------------------------------------------------- coefficients

namespace {

// The moments E a, E a^2, E a^3, E a^4 of independent coordinates whose keys have the same directions. A direction on
// the sphere is that of a Gaussian vector. A direction on the simplex is that of independent exponentials.
struct CoordinateMoments {
  double first, second, third, fourth;
};

CoordinateMoments coordinate_moments(AlphaLaw law) {
  switch (law) {
    case AlphaLaw::u01:
      return {1.0 / 2, 1.0 / 3, 1.0 / 4, 1.0 / 5};
    case AlphaLaw::u11:
    case AlphaLaw::codebook:
      return {0.0, 1.0 / 3, 0.0, 1.0 / 5};
    case AlphaLaw::gauss:
    case AlphaLaw::sphere:
      return {0.0, 1.0, 0.0, 3.0};
    case AlphaLaw::simplex:
      return {1.0, 2.0, 6.0, 24.0};
  }
  SPANKEY_CHECK(false);
  return {};
}

}  // namespace

AlphaMoments alpha_moments(AlphaLaw law, std::int64_t dimension) {
  const auto m = static_cast<double>(dimension);
  const auto moments = coordinate_moments(law);
  if (law == AlphaLaw::sphere) return {0.0, 1 / m, 0.0};
  if (law == AlphaLaw::simplex) return {1 / m, (m - 1) / (m * m * (m + 1)), -1 / (m * m * (m + 1))};
  return {moments.first, moments.second - moments.first * moments.first, 0.0};
}

// Uses the delta method on cos = mean(a a') / sqrt(mean(a^2) mean(a'^2)) and on mean(a) / sqrt(mean(a^2)), for
// independent coordinates.
KeyLaw key_law(AlphaLaw law, const at::Tensor& gram) {
  const auto m = static_cast<double>(gram.size(0));
  const auto [e1, e2, e3, e4] = coordinate_moments(law);
  const double aligned = e1 * e1 / e2, spread2 = e4 - e2 * e2;
  const double pair_variance = (e2 * e2 - e1 * e1 * e1 * e1) / (e2 * e2) + aligned * aligned / (2 * e2 * e2) * spread2 -
                               2 * aligned / (e2 * e2) * (e3 * e1 - e1 * e1 * e2);
  const double mean_variance =
      (e2 - e1 * e1) / e2 + aligned / (4 * e2 * e2) * spread2 - e1 / (e2 * e2) * (e3 - e1 * e2);
  // The second moment of alpha is, up to scale, e1^2 11^T + (e2 - e1^2) I.
  const at::Tensor second = at::full_like(gram, e1 * e1) + (e2 - e1 * e1) * at::eye(gram.size(0), gram.options());
  const at::Tensor moment = second.matmul(gram);  // has the traces of B^T S B
  const double trace = moment.trace().item<double>();
  const double along = gram.sum(1).dot(second.mv(gram.sum(1))).item<double>() / gram.sum().item<double>();
  return {.pair_cosine = aligned,
          .pair_cosine_sd = std::sqrt(pair_variance / m),
          .mean_cosine = e1 / std::sqrt(e2),
          .mean_cosine_sd = std::sqrt(mean_variance / m),
          .mean_energy_share = along / trace,
          .effective_rank = trace * trace / moment.matmul(moment).trace().item<double>()};
}

KeySample measure_keys(const at::Tensor& coordinates, const at::Tensor& direction) {
  const std::int64_t n = coordinates.size(0);
  SPANKEY_CHECK_LT(1, n);
  const at::Tensor norms = coordinates.norm(2, {1}, true);
  const at::Tensor unit = coordinates / norms;
  const at::Tensor pairs = unit.matmul(unit.t());
  const at::Tensor above = at::ones({n, n}, at::kBool).triu(1);
  const at::Tensor different = pairs.masked_select(above);
  const at::Tensor to_mean = unit.mv(direction);
  const at::Tensor moment = coordinates.t().matmul(coordinates);
  const double trace = moment.trace().item<double>();
  const auto sd = [](const at::Tensor& values) { return values.numel() > 1 ? values.std().item<double>() : 0.0; };
  return {.pair_cosine = different.mean().item<double>(),
          .pair_cosine_sd = sd(different),
          .mean_cosine = to_mean.mean().item<double>(),
          .mean_cosine_sd = sd(to_mean),
          .mean_energy_share = coordinates.mv(direction).square().sum().item<double>() / trace,
          .effective_rank = trace * trace / moment.square().sum().item<double>(),
          .norm_sd = sd(norms) / norms.mean().item<double>()};
}

}  // namespace spankey
