// The law of the multiplier s(k) for k ~ N(0, std^2), and what it means for one coordinate of a linearised network.
#pragma once

#include "spankey/keys/injection.h"

namespace spankey {

// Returns clamp(1 + gamma tanh k, .1, 2), exp(gamma tanh k), 1 + min(gamma, .9) tanh k or tanh(5 k).
double multiplier_value(const InjectionKind& kind, double k);
// Returns its derivative, which is 0 beyond the clamps.
double multiplier_slope(const InjectionKind& kind, double k);

struct MultiplierMoments {
  double mean = 1.0, sd = 0.0;
  double at_low = 0.0, at_high = 0.0;  // probability of saturation at 0.1 and at 2, 0 for exp and sym
};
// Computes the moments by quadrature. The probabilities are exact.
MultiplierMoments multiplier_moments(const InjectionKind& kind, double std);

// The effect of an injection on one coordinate under a Gaussian key, in the unit that `slope` gives. For mul h' = h (1
// + xi) with xi = s(k) - 1, and for add h' = h + gamma xi with xi = k.
struct Perturbation {
  double mean = 0.0, variance = 0.0;
  double range = 0.0;  // of xi, infinite for add
  double slope = 1.0;  // d xi / dk at k = 0. Derivatives by the key divided by it are derivatives by xi
};
Perturbation perturbation(const InjectionKind& kind, double std);

// Returns xi for each element of `key`, float64.
at::Tensor perturbed(const InjectionKind& kind, const at::Tensor& key);

}  // namespace spankey
