// Gathers samples into one normalised float batch and augments them, in a single pass over the pixels.
//
// All draws of a sample come from Stream(seed, purpose, epoch, 0, sample index). The rank or thread that assembles it,
// and the time, therefore make no difference. The augmentations are those of the paper's examples, with torchvision's
// semantics on PIL images. `affine` (examples 02, 03, 05) is RandomAffine(rotation, translate=(.06, .06)). It takes an
// angle U(-rotation, rotation), shifts round(U(-.06 W, .06 W)), the centre of the image, the nearest pixel in PIL's
// 16.16 fixed point, and 0 outside. `crop_flip` (examples 04, 06) is RandomCrop(size, padding=4) with zeros and
// RandomHorizontalFlip(.5). Both come before the normalisation, so that the outside has the value (0 - mean) / std.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <utility>

#include "base/stream.h"
#include "config/enums.h"
#include "data/assemble_body.h"
#include "data/dataset.h"

namespace spankey {

class Assembler {
 public:
  // `rotation` is the largest angle of `affine` in degrees. `device` is where batches are wanted. The split is copied
  // there. On the CPU it is used in place, and must live as long as this object and its copies. Throws Error(bad_input)
  // when the augmentation does not fit the samples (features).
  Assembler(const Dataset& dataset, const Split& split, Augment augment, std::uint64_t seed, Purpose purpose,
            double rotation = 6.0, at::Device device = at::kCPU);

  // Fills `x`, (n, C, H, W) or (n, D) float32, and `labels`, (n) int64, on the CPU. Tensors of the right shape and type
  // are filled, others are replaced.
  void operator()(std::span<const std::int64_t> samples, std::int64_t epoch, at::Tensor& x, at::Tensor& labels) const;
  // Gives the same bits, on the calling thread alone.
  void serially(std::span<const std::int64_t> samples, std::int64_t epoch, at::Tensor& x, at::Tensor& labels) const;

  // Returns x and labels with the same bits, on any device. `samples` (n) int64 and `position` (2) int64 = {epoch,
  // step} are on that device. `channels_last` is the memory format of images. bfloat16 is float32 rounded. Nothing
  // waits for the device, and all of it may be captured.
  std::pair<at::Tensor, at::Tensor> operator()(const at::Tensor& samples, const at::Tensor& position,
                                               bool channels_last, at::ScalarType type = at::kFloat) const;

 private:
  // Makes the tensors fit, and returns how many numbers a sample has.
  std::int64_t prepare(std::int64_t count, at::Tensor& x, at::Tensor& labels) const;
  void fill_rows(std::span<const std::int64_t> samples, std::int64_t epoch, float* x, std::int64_t* labels) const;

  AssemblyPlan plan_{};        // for images
  at::Tensor images_, table_;  // (N, C, H, W) uint8 and (C, 256) float32, or undefined
  at::Tensor features_;        // (N, D) float32, or undefined
  at::Tensor labels_;          // (N) int64
};

}  // namespace spankey
