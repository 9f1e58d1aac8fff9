// The laws of keys. They say how much of a wrong key's energy lies in the span of the basis, and how alike valid keys
// are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "config/enums.h"

namespace spankey {

// A Gaussian key g in d dimensions against an m-dimensional span. The share rho = |gP|^2 / |g|^2 ~ Beta(m/2, (d-m)/2)
// is independent of |g| and unchanged by rescaling.
struct EnergySplit {
  double m, d;
  double mean() const { return m / d; }
  double variance() const { return 2 * m * (d - m) / (d * d * (d + 2)); }
  double cdf(double rho) const;
  double density(double rho) const;
  double tail(double rho) const;  // P(share >= rho), exact
  // exp(-(d/2) KL(m/d || rho)) with KL of Bernoulli laws. It is an upper bound of the tail above the mean and of the
  // cdf below it.
  double chernoff(double rho) const;
};

// Moments of the coordinates of coefficients alpha of a law (key.alpha). For the exchangeable laws `covariance` is that
// of two different coordinates. For the codebook the moments are expectations over codebooks.
struct AlphaMoments {
  double mean, variance, covariance;
};
AlphaMoments alpha_moments(AlphaLaw law, std::int64_t m);

// What the law says of valid keys k = alpha B, whatever their scale. Cosines and their spread come from the delta
// method in 1/m. The effective rank tr(M)^2 / tr(M^2) of the second moment M = E k^T k is exact for unscaled keys.
struct KeyLaw {
  double pair_cosine, pair_cosine_sd;  // of two valid keys
  double mean_cosine, mean_cosine_sd;  // of a valid key and the direction of the mean
  double mean_energy_share;            // of the second moment, on the direction of the mean
  double effective_rank;
};
// `gram` is B B^T, (m, m) float64. The identity gives the textbook values (for u01 3/4, sqrt(.1/m), sqrt(3)/2, ...).
KeyLaw key_law(AlphaLaw law, const at::Tensor& gram);

// The figures of KeyLaw, measured on given keys. `coordinates` is (n, m) float64 in an orthonormal frame of the span,
// and `direction` (m) is that of the mean.
struct KeySample {
  double pair_cosine, pair_cosine_sd, mean_cosine, mean_cosine_sd, mean_energy_share, effective_rank;
  double norm_sd;  // of |k|, relative to its mean
};
KeySample measure_keys(const at::Tensor& coordinates, const at::Tensor& direction);

}  // namespace spankey
