// Predicts how often a wrong key spoils a right answer, from the network without a key.
//
// Under a Gaussian wrong key the scores of the linearised network are z ~ N(z0 + a W1, v W W^T) with W the derivatives
// by the perturbation of each coordinate, a and v its mean and variance (diagnose/multiplier.h), slots added up. All
// figures are statements about that linear model. The Cantelli and Hoeffding figures bound it, for the margin to the
// rival that is closest without a key. None of them bounds the network itself.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "diagnose/margin.h"
#include "diagnose/multiplier.h"

namespace spankey {

// Scores without a key, (n, columns), and W, (n, columns, d) for each slot, float64.
struct LinearScores {
  at::Tensor scores;
  std::vector<at::Tensor> weights;
};
LinearScores linearise(const MarginProbe& probe, const at::Tensor& x, const std::vector<Perturbation>& slots);

// Returns the scores (n, keys, columns) that the linear model gives for keys, (keys, d) for each slot.
at::Tensor linear_scores(const LinearScores& linear, const InjectionKind& kind, const std::vector<at::Tensor>& keys);

// Probability of a wrong (or rejected) answer for each sample, (n) float64 each.
struct TailPrediction {
  at::Tensor margin_mean, margin_sd;       // to the closest rival
  at::Tensor gaussian;                     // (a) Phi(-mean/sd) of that margin
  at::Tensor jacobian;                     // (b) all rivals at once, by draws of the scores
  at::Tensor cantelli_high, cantelli_low;  // (c) v / (v + mean^2) where mean > 0, else 1, and from below where mean < 0
  at::Tensor hoeffding;  // (d) exp(-2 mean^2 / (range^2 |w|^2)) where mean > 0, else 1. Undefined for add
  at::Tensor tau;        // (f) mean / sd
};
// `normals` is (draws, columns) float64, shared by all samples.
TailPrediction predict_tail(const LinearScores& linear, const std::vector<Perturbation>& slots,
                            const at::Tensor& labels, const Judge& judge, const at::Tensor& normals);

// Returns (draws, columns) standard normals of the run's diagnostics.
at::Tensor tail_normals(std::uint64_t seed, std::int64_t draws, std::int64_t columns);

// (e) Returns Phi(-mean/sd) of each sample's own keys, (n), from measured margins (n, keys).
at::Tensor fitted_tail(const at::Tensor& margins);

// What valid keys of standard deviation `std` do to the margin, to first order in the key, (n) float64 each. With g =
// dM/dk without a key, the mean is cos(k, u) std sqrt(d) g.u and the variance (1 - rho) std^2 d/m |gP|^2, where rho is
// the share of the energy of valid keys on their mean. Under a wrong key the mean is 0 and the variance std^2 |g|^2.
struct SpanShift {
  at::Tensor valid_mean, valid_variance, wrong_variance;
};
SpanShift span_shift(const std::vector<at::Tensor>& gradients, const KeySpace& space, const std::vector<double>& std,
                     double mean_cosine);

}  // namespace spankey
