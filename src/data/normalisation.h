// How the bytes of images become the numbers that a network takes.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

namespace spankey {

// Returns (C, 256) float32, the value of each byte in each channel, (v / 255 - mean) / std. `mean` and `std` have one
// number a channel.
at::Tensor normalisation_table(std::span<const float> mean, std::span<const float> std);

// `images` is (n, C, H, W) uint8 on the CPU. Returns float32 of the same shape, the bits of Assembler without
// augmentation.
at::Tensor normalised(const at::Tensor& images, const at::Tensor& table);

}  // namespace spankey
