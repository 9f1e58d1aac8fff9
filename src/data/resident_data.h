// A split whose samples are in the memory of the device that uses them, images as bytes. Batches are assembled there
// from sample indices and an epoch that are there too.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>

#include "base/stream.h"
#include "config/enums.h"
#include "data/assemble_body.h"
#include "data/dataset.h"

namespace spankey {

class ResidentData {
 public:
  // Copies the split to the device. On the CPU images and features are not copied, and the data set must live as long
  // as this object. Throws Error(bad_input) when the augmentation does not fit the samples.
  ResidentData(const Dataset& dataset, const Split& split, Augment augment, std::uint64_t seed, Purpose purpose,
               double rotation, at::Device device);

  // `samples` (n) int64 and `position` (2) int64 = {epoch, step} are on the device. Returns x, (n, C, H, W) or (n, D),
  // and labels, (n) int64, equal bit for bit to those of Assembler. `channels_last` is the memory format of images.
  // bfloat16 is float32 rounded. The host does not wait for the device, and all of it may be captured.
  std::pair<at::Tensor, at::Tensor> assemble(const at::Tensor& samples, const at::Tensor& position, bool channels_last,
                                             at::ScalarType type = at::kFloat) const;

 private:
  AssemblyPlan plan_{};
  at::Tensor images_, table_;  // (N, C, H, W) uint8 and (C, 256) float32, or undefined
  at::Tensor features_;        // (N, D) float32, or undefined
  at::Tensor labels_;          // (N)
};

}  // namespace spankey
