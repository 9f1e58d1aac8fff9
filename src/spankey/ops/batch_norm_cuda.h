// The kernels of spankey::batch_norm_act for CUDA, and how they share out their work. Plain pointers keep LibTorch's
// headers out of what nvcc reads.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "base/portable_math.h"
#include "spankey/ops/batch_norm_body.h"
#include "spankey/ops/inject_body.h"

namespace spankey::batch_norm {

constexpr int threads = 256;  // of a block

// Where a key enters, a thread takes a few samples at the same place. In bfloat16 a warp takes a tile of samples and
// channels together.
constexpr int samples_at_once = 4;

// Threads over channels of a tile, and its samples.
constexpr int tile_lanes = 4, tile_samples = 16;

// How a matrix is shared out: blocks are (chunk of steps, tile of channels, group). A step is a row, or where a key
// enters one of a KeyedWalk.
struct Shape {
  std::int64_t groups, rows, channels;  // rows of one group
  KeyedWalk walk;                       // of one group
  std::int64_t steps;
  std::int64_t first_group;  // of this launch
  int lanes, width;          // threads over channels, channels of a thread
  int lines_at_once;         // lines of threads that take a step together
  std::int64_t chunks, chunk_steps;

  std::int64_t tiles() const { return (channels + lanes * width - 1) / (lanes * width); }

  // Where the results of a channel's chunks stand in the partial results (2, groups, channels, chunks).
  SPANKEY_HOST_DEVICE std::int64_t partial(std::int64_t which, std::int64_t group, std::int64_t channel) const {
    return ((which * groups + group) * channels + channel) * chunks;
  }
};

// The tensors that the forward and the backward pass read.
template <class T>
struct Source {
  const T *x, *residual;  // `residual` may be null
  const float *weight, *bias, *mean, *inverse;
  bool relu;
};

// The kernels for activations of type T, float or BFloat16, and threads of `width` channels. Each function launches one
// on `stream`. Rows are those of channels_last memory. Keys are those of one part of the batch, from the shape's first
// group on, and null where no key enters.
template <class T, int width>
struct Kernels {
  static constexpr bool tiled = sizeof(T) == 2 && width > 1;  // whether a warp takes a tile where a key enters

  // Writes partial sums and sums of squares to `partial`, see Shape::partial().
  static void launch_measure(const T* x, const Shape& shape, double* partial, cudaStream_t stream);
  // Writes the statistics (groups, channels) of measure()'s sums. `inverse` is 1 / deviation.
  static void launch_conclude_statistics(const T* x, const double* partial, const Shape& shape, double epsilon,
                                         float* mean, float* variance, float* inverse, cudaStream_t stream);
  static void launch_apply(const Source<T>& in, const Shape& shape, const inject_body::KeySource* keys, T* y,
                           cudaStream_t stream);
  // Writes partial sums of the gradient and of its product with the normal form of x. `prepared`, which may be null,
  // gets the gradient in front of key and ReLU.
  static void launch_sum_gradients(const T* g, const Source<T>& in, const Shape& shape,
                                   const inject_body::KeySource* keys, T* prepared, double* partial,
                                   cudaStream_t stream);
  // Writes the means (2, groups, channels) of sum_gradients()'s sums, and the parameters' gradients.
  static void launch_conclude_gradients(const double* partial, const Shape& shape, float* means, float* of_weight,
                                        float* of_bias, cudaStream_t stream);
  // `g` is the gradient in front of the ReLU, or with in.relu that behind a plain ReLU. `of_x` may be `g`.
  static void launch_apply_gradients(const T* g, const Source<T>& in, const float* means, const Shape& shape, T* of_x,
                                     cudaStream_t stream);
};

}  // namespace spankey::batch_norm
