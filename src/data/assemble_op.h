// The operator spankey::assemble makes a normalised, augmented batch from images on the same device. Its CPU
// implementation is assemble_op.cpp. The CUDA module adds its own (assemble_cuda.cu). The host never waits for a value.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "data/assemble_body.h"

namespace spankey {

// `images` is (N, C, H, W) uint8, `table` (C, 256) float32, `samples` (n) int64, and `position` (2) int64 = {epoch,
// step}. Returns the bits of Assembler as (n, C, H, W) of `type`, float32 or bfloat16, in the memory format of the
// plan.
at::Tensor assemble(const at::Tensor& images, const at::Tensor& table, const at::Tensor& samples,
                    const at::Tensor& position, const AssemblyPlan& plan, at::ScalarType type);

// Does the work on the CPU, on the calling thread. It writes one sample after the other into `out` (n, C, H, W)
// float32, whatever plan.channels_last. `images` is N x (C, H, W).
void assemble_rows(const AssemblyPlan& plan, std::span<const std::uint8_t> images, const float* table,
                   std::span<const std::int64_t> samples, std::int64_t epoch, float* out);

// Makes the plan from the operator's arguments. `images` is the shape (N, C, H, W).
inline AssemblyPlan assembly_plan(at::IntArrayRef images, std::int64_t seed, std::int64_t purpose, std::int64_t augment,
                                  double rotation, bool channels_last) {
  return {.channels = images[1],
          .height = images[2],
          .width = images[3],
          .augment = static_cast<Augment>(augment),
          .rotation = static_cast<float>(rotation),
          .seed = static_cast<std::uint64_t>(seed),
          .purpose = static_cast<std::uint32_t>(purpose),
          .channels_last = channels_last};
}

}  // namespace spankey
