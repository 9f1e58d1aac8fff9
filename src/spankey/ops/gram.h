// Moments of keys k = alpha B without forming k, by sum k^2 = alpha G alpha^T with G = B B^T, and sum k = alpha . (B
// 1).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace spankey {

// Products of one layer's basis, float64, summed in a fixed order, so that any number of threads gives the same bits.
struct Gram {
  at::Tensor products;  // (m, m) B B^T
  at::Tensor sums;      // (m) row sums of B
  std::int64_t width = 0;
};

Gram make_gram(const at::Tensor& basis);  // (m, d) float32 or float64

// The Gram matrices of all key slots, on one device.
struct SlotGrams {
  at::Tensor products;  // (slots, m, m) float64
  at::Tensor sums;      // (slots, m) float64
  at::Tensor widths;    // (slots) int64
};

SlotGrams slot_grams(const std::vector<Gram>& grams, at::Device device);

// Unbiased standard deviation over all n * d elements of the keys of `alphas` (n, m), with each row counted `repeats`
// times. (For a single key expanded over a batch of n rows, repeats = n.)
double key_std(const Gram& gram, const at::Tensor& alphas, std::int64_t repeats = 1);

// The standard deviation of each key on its own, (n) float64.
at::Tensor key_std_rows(const Gram& gram, const at::Tensor& alphas);

// Unbiased standard deviation of the elements of `key` (d), expanded to `repeats` rows.
double expanded_std(const at::Tensor& key, std::int64_t repeats);

// Returns the same standard deviation or, where it is 0, the root mean square.
double key_deviation(const at::Tensor& key, std::int64_t repeats);

// Factor that brings `std` to `target`, or 1 where target <= 0. (Reference implementation, rescale_key_to_std.)
double rescale_factor(double std, double target);

// Returns `key`, (1, d) or (n, d), brought to the standard deviation `target` by a factor through which gradients flow,
// or unchanged where target <= 0. It serves searches for keys by gradient. (Reference implementation,
// rescale_key_to_std_tensor.)
at::Tensor rescale_differentiably(const at::Tensor& key, double target);

}  // namespace spankey
