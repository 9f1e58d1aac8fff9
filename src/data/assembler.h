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

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/stream.h"
#include "config/enums.h"
#include "data/assemble_body.h"
#include "data/dataset.h"

namespace spankey {

// Working memory of one thread for `affine`. It holds a plane with zeros around it, and for each output pixel the index
// in it that is read.
struct PaddedPlane {
  std::int64_t margin = 0;
  int row_bits = 0;                  // a row takes 2^row_bits places
  std::vector<std::uint8_t> pixels;  // (H + 2 margin, 2^row_bits)
  std::vector<std::int32_t> source;  // (H, W)
};

// The normalised value (v / 255 - mean) / std of each byte v, for each channel.
std::vector<std::array<float, 256>> normalisation_table(const DataInfo& info);

// Throws Error(bad_input) when the augmentation does not fit the samples.
void require_augment(const Dataset& dataset, Augment augment);

class Assembler {
 public:
  // Keeps references to `dataset` and `split`. `rotation` is the largest angle of `affine` in degrees. Throws
  // Error(bad_input) when the augmentation does not fit the samples (features).
  Assembler(const Dataset& dataset, const Split& split, Augment augment, std::uint64_t seed, Purpose purpose,
            double rotation = 6.0);

  // Fills `x`, (n, C, H, W) or (n, D) float32, and `labels`, (n) int64. Tensors of the right shape and type are filled,
  // others are replaced.
  void operator()(std::span<const std::int64_t> samples, std::int64_t epoch, at::Tensor& x, at::Tensor& labels) const;
  // Gives the same bits, on the calling thread alone.
  void serially(std::span<const std::int64_t> samples, std::int64_t epoch, at::Tensor& x, at::Tensor& labels) const;

 private:
  void prepare(std::int64_t count, at::Tensor& x, at::Tensor& labels) const;
  void fill_rows(std::span<const std::int64_t> samples, std::int64_t epoch, std::int64_t begin, std::int64_t end,
                 float* x, std::int64_t* labels) const;
  void fill_image(std::int64_t sample, std::int64_t epoch, PaddedPlane& scratch, float* out) const;

  const Split* split_;
  std::vector<std::int64_t> sample_shape_;
  std::int64_t sample_size_;
  Augment augment_;
  std::uint64_t seed_;
  Purpose purpose_;
  float rotation_;
  std::vector<std::array<float, 256>> normalised_;  // empty for features
};

}  // namespace spankey
