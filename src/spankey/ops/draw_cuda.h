// The kernels that draw and rescale keys on a GPU. Plain pointers keep LibTorch's headers out of what nvcc reads.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "spankey/ops/draw_body.h"

namespace spankey::draw_kernels {

// Coefficients of `slots` key slots for n samples.
struct Alphas {
  AlphaLaw law;
  draw_body::Source source;
  const std::int64_t *position, *samples;  // (2) and (n)
  std::int64_t n, m, slots;
};

// The coefficients and Gram matrices of key slots.
struct Slots {
  const float* alphas;            // (slots, n, m), or (n, m) for all
  std::int64_t stride;            // between slots of alphas
  const double *products, *sums;  // (slots, m, m) and (slots, m)
  const std::int64_t* widths;     // (slots)
  std::int64_t n, m, slots;
};

// Rows begin .. begin + rows - 1 of the coefficients of each slot, and the deviations that their keys have.
struct Scaling {
  const float* alphas;      // (slots, n, m), or (n, m) for all
  std::int64_t stride;      // between slots of alphas
  const double* std;        // (slots, n), or (slots, 1)
  std::int64_t std_stride;  // between slots of std
  std::int64_t std_step;    // between rows, 0 for one deviation a slot
  double target;
  std::int64_t begin, rows, m, slots;
};

// Keys of some slots, one after the other in one array. Slot number i of them has widths[i] elements from begins[i] on.
struct KeyLayout {
  static constexpr int most_slots = 64;

  std::int64_t first_slot;
  int slots;
  std::int64_t begins[most_slots], widths[most_slots];
  std::int64_t widest;
};

// Each function launches its kernels on `stream`. Results lie on the device.
void draw_alphas(const Alphas& alphas, float* out, cudaStream_t stream);  // (slots, n, m)
void draw_below(const draw_body::Source& source, const std::int64_t* position, const std::int64_t* samples,
                std::int64_t n, std::uint32_t bound, std::int64_t* out, cudaStream_t stream);  // (n)

// Writes the sum and the sum of squares of each key to `totals` (slots, n, 2), and its deviation to `std` (slots, n)
// unless that is null.
void sum_keys(const Slots& slots, double* totals, double* std, cudaStream_t stream);
// Writes the deviation of all keys of a slot together to `std` (slots).
void std_of_all_keys(const Slots& slots, const double* totals, double* std, cudaStream_t stream);
void scale_alphas(const Scaling& scaling, float* out, cudaStream_t stream);  // (slots, rows, m)

// Draws the keys and brings each to target[its slot], as draw_wrong_keys() of draw_op.h says. `factors` (slots) is a
// workspace.
void draw_wrong_keys(const draw_body::Source& source, const std::int64_t* position, const KeyLayout& layout,
                     const double* target, std::int64_t repeats, float* factors, float* out, cudaStream_t stream);

}  // namespace spankey::draw_kernels
