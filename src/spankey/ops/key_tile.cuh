// The keys of a tile of 16 rows by 32 columns, for activations in bfloat16. A warp forms them together: alpha B on
// tensor cores, with factors in TF32 and sums in float32, whose error is below the rounding of the activations.
#pragma once

#include <cstdint>

#include "base/portable_math.h"
#include "spankey/ops/inject_body.h"
#include "spankey/ops/pack.h"
#include "spankey/ops/tensor_core.cuh"

namespace spankey::key_tile {

constexpr int rows = 16, columns = 32;        // of a tile
constexpr int own_rows = 2, own_columns = 8;  // of a lane

using OwnKeys = inject_body::Keys<own_rows, own_columns>;

__device__ inline int lane_of_warp() {
  return static_cast<int>((threadIdx.y * blockDim.x + threadIdx.x) % 32);
}

// A lane has rows own_row() and own_row() + 8 of the tile, and columns own_column() .. own_column() + 7.
__device__ inline int own_row() {
  return lane_of_warp() / 4;
}
__device__ inline int own_column() {
  return lane_of_warp() % 4 * own_columns;
}

// The lane's row number `own` (0 or 1) of a tile that begins at row `first`, or the last row where there is none.
__device__ inline std::int64_t row_of_source(const inject_body::KeySource& s, std::int64_t first, int own) {
  const std::int64_t row = first + own_row() + own * (rows / own_rows);
  return row < s.rows ? row : s.rows - 1;
}

// Four numbers of a row of m, of which those beyond the end are 0. `whole`: packs of four can be read.
__device__ inline Pack<float, 4> four_of(const float* row, std::int64_t from, std::int64_t m, bool whole) {
  Pack<float, 4> four = {};
  if (whole) {
    if (from < m) four = load<float, 4>(row + from);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (from + i < m) four.values[i] = row[from + i];
  }
  return four;
}

// alpha B for rows from `first` and columns from `column` on. In each step a lane has coefficients 4 t .. 4 t + 3 of
// its two rows, and in the matching rows of the basis columns 4 g .. 4 g + 3. Product number j takes column number j of
// each lane, so that the results are neighbouring columns.
__device__ inline OwnKeys products(const inject_body::KeySource& s, std::int64_t first, std::int64_t column) {
  constexpr int depth = 16, tiles = 4;
  const int g = own_row(), t = lane_of_warp() % 4;
  const bool whole = s.m % 4 == 0 && reinterpret_cast<std::uintptr_t>(s.coefficients) % sizeof(Pack<float, 4>) == 0;
  const bool inside = column + 4 * g < s.d;
  const float* alpha[own_rows];
  for (int r = 0; r < own_rows; ++r) alpha[r] = s.coefficients + row_of_source(s, first, r) * s.stride;
  float sums[tiles][4] = {};
  __syncwarp();
  for (std::int64_t q = 4 * t; q - 4 * t < s.m; q += depth) {
    Pack<float, 4> a[own_rows], b[4];
#pragma unroll
    for (int r = 0; r < own_rows; ++r) a[r] = four_of(alpha[r], q, s.m, whole);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      b[i] = q + i < s.m && inside ? load<float, 4>(s.basis + (q + i) * s.d + column + 4 * g) : Pack<float, 4>{};
#pragma unroll
    for (int half = 0; half < 4; half += 2) {
      const std::uint32_t of_alpha[4] = {tf32_of(a[0].values[half]), tf32_of(a[1].values[half]),
                                         tf32_of(a[0].values[half + 1]), tf32_of(a[1].values[half + 1])};
#pragma unroll
      for (int j = 0; j < tiles; ++j)
        multiply_add(of_alpha, {tf32_of(b[half].values[j]), tf32_of(b[half + 1].values[j])}, sums[j]);
    }
  }
  OwnKeys keys;
#pragma unroll
  for (int j = 0; j < tiles; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) keys.values[i / 2][4 * (i % 2) + j] = sums[j][i];
  return keys;
}

// The keys of rows from `first` and columns from `column` on, see inject_body::keys_of(). All lanes of the warp must
// call this. A lane beyond the last row gets the key of the last row, and one beyond the last column any.
__device__ inline OwnKeys keys_of(const inject_body::KeySource& s, std::int64_t first, std::int64_t column) {
  if (s.basis) return products(s, first, column);
  OwnKeys keys = {};
  if (column + own_column() >= s.d) return keys;
#pragma unroll
  for (int r = 0; r < own_rows; ++r) {
    const float* from = s.coefficients + row_of_source(s, first, r) * s.stride + column + own_column();
    const auto key = load<float, own_columns>(from);
#pragma unroll
    for (int i = 0; i < own_columns; ++i) keys.values[r][i] = key.values[i];
  }
  return keys;
}

// The factors of these keys. Without a key they change nothing.
__device__ inline OwnKeys factors_of(const inject_body::KeySource& s, std::int64_t first, std::int64_t column) {
  if (!s.coefficients) return inject_body::idle_factors<own_rows, own_columns>(s.mode);
  OwnKeys keys = keys_of(s, first, column);
  inject_body::make_factors<BFloat16>(s.mode, s.gamma, keys);
  return keys;
}

}  // namespace spankey::key_tile
