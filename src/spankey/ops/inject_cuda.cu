// The kernels of spankey::inject. In float32 a thread has a few neighbouring columns of a few rows, and a block the
// same columns of several such sets of rows, so that each number of the basis is fetched once for many rows.
// Coefficients are read through shared memory. In bfloat16 a warp has the tiles of key_tile.cuh below each other,
// unless what it reads is not aligned.
#include <algorithm>
#include <cstdint>

#include "base/portable_math.h"
#include "spankey/ops/inject_body.h"
#include "spankey/ops/inject_cuda.h"
#include "spankey/ops/key_tile.cuh"

namespace spankey {
namespace {

constexpr int rows_at_once = 4;
constexpr int chunk = 256;  // coefficients of a row in shared memory
constexpr int lines = 4;    // sets of rows in a block
constexpr std::int64_t most_columns = 64, most_groups = 65535;

// Keys of the rows from `first` on. All threads of a block must call this, because a row of threads loads its
// coefficients together.
template <int width>
__device__ void form_keys(const inject_body::KeySource& s, std::int64_t first, std::int64_t column, float* alpha,
                          inject_body::Keys<rows_at_once, width>& keys) {
  for (std::int64_t q = 0; q < s.m; q += chunk) {
    const auto count = static_cast<int>(s.m - q < chunk ? s.m - q : chunk);
    __syncthreads();  // the chunk before has been used
    for (int i = static_cast<int>(threadIdx.x); i < rows_at_once * count; i += static_cast<int>(blockDim.x)) {
      const std::int64_t row = first + i / count;
      alpha[i] = row < s.rows ? s.coefficients[row * s.stride + q + i % count] : 0.0F;
    }
    __syncthreads();
    const float* of_rows[rows_at_once];
    for (int r = 0; r < rows_at_once; ++r) of_rows[r] = alpha + r * count;
    if (column < s.d) inject_body::add_products(of_rows, s.basis + q * s.d + column, s.d, count, keys);
  }
}

template <InjectMode mode, class T, int width>
__global__ void __launch_bounds__(most_columns* lines) inject_rows(InjectedPart<T> p) {
  __shared__ float alpha[lines][rows_at_once * chunk];
  const inject_body::KeySource& s = p.keys;
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * width;
  const std::int64_t rows_of_block = lines * rows_at_once, step = static_cast<std::int64_t>(gridDim.y) * rows_of_block;
  for (std::int64_t of_block = blockIdx.y * rows_of_block; of_block < s.rows; of_block += step) {
    const std::int64_t first = of_block + threadIdx.y * rows_at_once;
    inject_body::Keys<rows_at_once, width> keys = {};
    if (s.basis) form_keys(s, first, column, alpha[threadIdx.y], keys);
    if (column >= s.d || first >= s.rows) continue;
    if (!s.basis) keys = inject_body::keys_of<rows_at_once, width>(s, first, column);
#pragma unroll
    for (int r = 0; r < rows_at_once; ++r) {
      const std::int64_t row = first + r;
      if (row >= s.rows) break;
      inject_body::apply_row<mode>(p.h + row * s.d + column, p.out + row * s.d + column, keys.values[r], s.gamma);
    }
  }
}

constexpr int warps = 8;                      // of a block of tiles, side by side
constexpr std::int64_t wanted_blocks = 1024;  // more than one GPU holds at a time, with several tiles for each warp

template <InjectMode mode>
__global__ void __launch_bounds__(32 * warps, 3) inject_tiles(InjectedPart<BFloat16> p) {
  using namespace key_tile;
  const inject_body::KeySource& s = p.keys;
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / 32) * columns;
  const std::int64_t own = column + own_column();
  if (column >= s.d) return;  // the whole warp
  for (std::int64_t first = blockIdx.y * rows; first < s.rows; first += static_cast<std::int64_t>(gridDim.y) * rows) {
    const OwnKeys keys = keys_of(s, first, column);
#pragma unroll
    for (int r = 0; r < own_rows; ++r) {
      const std::int64_t row = first + own_row() + r * (rows / own_rows), at = row * s.d + own;
      if (row < s.rows && own < s.d) inject_body::apply_row<mode>(p.h + at, p.out + at, keys.values[r], s.gamma);
    }
  }
}

template <class T>
bool aligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % alignof(T) == 0;
}

template <InjectMode mode, class T, int width>
void launch(const InjectedPart<T>& p, cudaStream_t stream) {
  const std::int64_t columns = (p.keys.d + width - 1) / width;
  const std::int64_t threads = std::min(most_columns, (columns + 31) / 32 * 32), rows = lines * rows_at_once;
  const dim3 block(static_cast<unsigned>(threads), lines);
  const dim3 grid(static_cast<unsigned>((columns + threads - 1) / threads),
                  static_cast<unsigned>(std::min(most_groups, (p.keys.rows + rows - 1) / rows)));
  inject_rows<mode, T, width><<<grid, block, 0, stream>>>(p);
}

template <InjectMode mode>
void launch_tiles(const InjectedPart<BFloat16>& p, cudaStream_t stream) {
  const std::int64_t columns = (p.keys.d + warps * key_tile::columns - 1) / (warps * key_tile::columns);
  const std::int64_t tiles = (p.keys.rows + key_tile::rows - 1) / key_tile::rows;
  const dim3 grid(static_cast<unsigned>(columns),
                  static_cast<unsigned>(std::min(tiles, (wanted_blocks + columns - 1) / columns)));
  inject_tiles<mode><<<grid, 32 * warps, 0, stream>>>(p);
}

template <InjectMode mode, class T>
void launch(const InjectedPart<T>& p, cudaStream_t stream) {
  constexpr int width = 16 / sizeof(T);
  const bool whole = aligned<Pack<T, width>>(p.h) && aligned<Pack<T, width>>(p.out) && reads_whole_packs(p.keys, width);
  if (!whole) return launch<mode, T, 1>(p, stream);
  if constexpr (sizeof(T) == 2)
    launch_tiles<mode>(p, stream);
  else
    launch<mode, T, width>(p, stream);
}

}  // namespace

template <class T>
void launch_injection(const InjectedPart<T>& part, cudaStream_t stream) {
  switch (part.keys.mode) {
    case InjectMode::add:
      return launch<InjectMode::add>(part, stream);
    case InjectMode::clamp:
      return launch<InjectMode::clamp>(part, stream);
    case InjectMode::exp:
      return launch<InjectMode::exp>(part, stream);
    case InjectMode::sym:
      return launch<InjectMode::sym>(part, stream);
    case InjectMode::sign:
      return launch<InjectMode::sign>(part, stream);
    case InjectMode::product:
      return launch<InjectMode::product>(part, stream);
  }
}

template void launch_injection(const InjectedPart<float>&, cudaStream_t);
template void launch_injection(const InjectedPart<BFloat16>&, cudaStream_t);

}  // namespace spankey
