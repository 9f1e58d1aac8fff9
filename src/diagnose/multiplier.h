// The law of the multiplier s(k), k ~ N(0, std^2), and what it means for one coordinate of a linearised network.
#pragma once

#include "spankey/keys/injection.h"

namespace spankey {

// clamp(1 + gamma tanh k, .1, 2), exp(gamma tanh k) or 1 + min(gamma, .9) tanh k.
double multiplier_value(const InjectionKind& kind, double k);
// Its derivative; 0 beyond the clamps.
double multiplier_slope(const InjectionKind& kind, double k);

struct MultiplierMoments {
  double mean = 1.0, sd = 0.0;
  double at_low = 0.0, at_high = 0.0;  // probability of saturation at 0.1 and at 2; 0 for exp and sym
};
// By quadrature; exact probabilities.
MultiplierMoments multiplier_moments(const InjectionKind& kind, double std);

// What an injection does to one coordinate under a Gaussian key, in the unit that `slope` gives: h' = h (1 + xi) with
// xi = s(k) - 1 for mul, h' = h + gamma xi with xi = k for add.
struct Perturbation {
  double mean = 0.0, variance = 0.0;
  double range = 0.0;  // of xi; infinite for add
  double slope = 1.0;  // d xi / dk at k = 0: derivatives by the key divided by it are derivatives by xi
};
Perturbation perturbation(const InjectionKind& kind, double std);

// xi for each element of `key`, float64.
at::Tensor perturbed(const InjectionKind& kind, const at::Tensor& key);

}  // namespace spankey
