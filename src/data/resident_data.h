// A split that lies on the device it is used on, images as bytes: batches are assembled there, by samples and an epoch
// that lie there too.
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
  // Copies the split to the device; on the CPU images and features are used where they lie, and the data set must live
  // as long as this object. Error(bad_input) when the augmentation does not fit the samples.
  ResidentData(const Dataset& dataset, const Split& split, Augment augment, std::uint64_t seed, Purpose purpose,
               double rotation, at::Device device);

  // samples (n) int64 and position (2) int64 = {epoch, step} on the device -> x (n, C, H, W) or (n, D) and labels (n)
  // int64, both as Assembler gives them, bit for bit; `channels_last`: of images, in memory. bfloat16 is float32
  // rounded. Nothing waits for the device, and all of it may be captured.
  std::pair<at::Tensor, at::Tensor> assemble(const at::Tensor& samples, const at::Tensor& position, bool channels_last,
                                             at::ScalarType type = at::kFloat) const;

 private:
  AssemblyPlan plan_{};
  at::Tensor images_, table_;  // (N, C, H, W) uint8 and (C, 256) float32, or undefined
  at::Tensor features_;        // (N, D) float32, or undefined
  at::Tensor labels_;          // (N)
};

}  // namespace spankey
