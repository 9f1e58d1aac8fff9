// What holders of several valid keys make of them, by itself so that a test can compare it with a count by hand.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace spankey {

// Functions of the keys of one layer, (c, d), that return (1, d) in the type of the keys.
at::Tensor median_key(const at::Tensor& keys);   // of each element; of an even number the mean of the middle two
at::Tensor min_max_key(const at::Tensor& keys);  // halfway between the smallest and the largest of each element
// Each element is that of one of the keys, of number floor(c u). `uniforms`: (d) on [0, 1).
at::Tensor mosaic_key(const at::Tensor& keys, std::span<const double> uniforms);
// The mean plus `noise`, (1, d), which is brought to `energy` times the energy of the mean.
at::Tensor noisy_mean_key(const at::Tensor& keys, const at::Tensor& noise, double energy);
// The mean seen through the `directions` leading singular directions of the keys.
at::Tensor leading_mean_key(const at::Tensor& keys, std::int64_t directions);

}  // namespace spankey
