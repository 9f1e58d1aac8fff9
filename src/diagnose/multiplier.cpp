#include "diagnose/multiplier.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/statistics.h"
#include "spankey/ops/inject_op.h"

namespace spankey {
namespace {

// Return the keys at which clamp(1 + gamma tanh k) meets its bounds, infinite where it does not.
double lower_kink(double gamma) {
  const double t = (multiplier_low - 1) / gamma;
  return t > -1 ? std::atanh(t) : -std::numeric_limits<double>::infinity();
}

double upper_kink(double gamma) {
  const double t = (multiplier_high - 1) / gamma;
  return t < 1 ? std::atanh(t) : std::numeric_limits<double>::infinity();
}

}  // namespace

double multiplier_value(const InjectionKind& kind, double k) {
  const double t = std::tanh(k);
  switch (kind.multiplier) {
    case Multiplier::clamp:
      return std::clamp(1 + kind.gamma * t, multiplier_low, multiplier_high);
    case Multiplier::exp:
      return std::exp(kind.gamma * t);
    case Multiplier::sym:
      return 1 + std::min(kind.gamma, sym_limit) * t;
    case Multiplier::sign:
      return std::tanh(sign_slope * k);
  }
  return 1.0;
}

double multiplier_slope(const InjectionKind& kind, double k) {
  const double t = std::tanh(k), sech2 = 1 - t * t;
  switch (kind.multiplier) {
    case Multiplier::clamp: {
      const double s = 1 + kind.gamma * t;
      return s >= multiplier_low && s <= multiplier_high ? kind.gamma * sech2 : 0.0;
    }
    case Multiplier::exp:
      return kind.gamma * sech2 * multiplier_value(kind, k);
    case Multiplier::sym:
      return std::min(kind.gamma, sym_limit) * sech2;
    case Multiplier::sign: {
      const double s = std::tanh(sign_slope * k);
      return sign_slope * (1 - s * s);
    }
  }
  return 0.0;
}

MultiplierMoments multiplier_moments(const InjectionKind& kind, double std) {
  if (std <= 0 || kind.gamma == 0) return {};
  MultiplierMoments moments;
  std::vector<double> kinks;
  if (kind.multiplier == Multiplier::clamp) {
    kinks = {lower_kink(kind.gamma), upper_kink(kind.gamma)};
    moments.at_low = normal_cdf(kinks[0] / std);
    moments.at_high = normal_cdf(-kinks[1] / std);
  }
  moments.mean = normal_expectation([&](double k) { return multiplier_value(kind, k); }, std, kinks);
  const auto squared = [&](double k) { return std::pow(multiplier_value(kind, k) - moments.mean, 2); };
  moments.sd = std::sqrt(normal_expectation(squared, std, kinks));
  return moments;
}

Perturbation perturbation(const InjectionKind& kind, double std) {
  if (kind.inject == Inject::add) return {0.0, std * std, std::numeric_limits<double>::infinity(), 1.0};
  const auto moments = multiplier_moments(kind, std);
  constexpr double far = 50.0;  // tanh is 1 there
  return {moments.mean - 1, moments.sd * moments.sd, multiplier_value(kind, far) - multiplier_value(kind, -far),
          multiplier_slope(kind, 0.0)};
}

at::Tensor perturbed(const InjectionKind& kind, const at::Tensor& key) {
  const at::Tensor k = key.to(at::kDouble);
  if (kind.inject == Inject::add) return k;
  // The network's own operator is applied to ones.
  return Injection::of_keys({0}, {k}, kind).apply(0, at::ones_like(k)) - 1;
}

}  // namespace spankey
