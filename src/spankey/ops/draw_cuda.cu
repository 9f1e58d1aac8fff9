// Drawing and rescaling of keys, by the bodies of draw_body.h. One thread adds each sum whose order the CPU fixes.
#include "spankey/ops/draw_cuda.h"

namespace spankey::draw_kernels {
namespace {

constexpr int threads = 128;
constexpr int lanes_of_warp = 32;  // threads of a block, where there is less work than a GPU has multiprocessors

unsigned blocks_for(std::int64_t items, std::int64_t of_block = threads) {
  return static_cast<unsigned>((items + of_block - 1) / of_block);
}

// Blocks for `items` of each slot.
dim3 blocks_for_slots(std::int64_t items, std::int64_t slots, std::int64_t of_block = threads) {
  return dim3(blocks_for(items, of_block), static_cast<unsigned>(slots));
}

// Rows of `items` threads each that a block of `of_block` threads has room for, at least one.
__host__ __device__ std::int64_t rows_of_block(std::int64_t items, std::int64_t of_block) {
  return items < of_block ? of_block / items : 1;
}

__device__ std::int64_t item() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

// A block has the coefficients of a few rows, of which there are slots * n. Its threads draw four numbers each. Then a
// thread finishes each row.
__global__ void __launch_bounds__(lanes_of_warp) alphas_of(Alphas a, float* out) {
  const std::int64_t fours = (a.m + 3) / 4, rows = rows_of_block(fours, lanes_of_warp);
  const std::int64_t first = blockIdx.x * rows, left = a.slots * a.n - first, count = left < rows ? left : rows;
  for (std::int64_t i = threadIdx.x; i < count * fours; i += lanes_of_warp) {
    const std::int64_t row = first + i / fours;
    draw_body::draw_four(a.law, a.source, a.position, a.samples[row % a.n], row / a.n, i % fours * 4, out + row * a.m,
                         a.m);
  }
  __syncthreads();
  if (threadIdx.x < count) draw_body::finish_alpha(a.law, out + (first + threadIdx.x) * a.m, a.m);
}

__global__ void __launch_bounds__(lanes_of_warp)
    integers_of(draw_body::Source source, const std::int64_t* position, const std::int64_t* samples, std::int64_t n,
                std::uint32_t bound, std::int64_t* out) {
  const std::int64_t i = item();
  if (i < n) out[i] = draw_body::draw_below(source, position, samples[i], bound);
}

// A block has a few rows of a slot (blockIdx.y). Its threads compute terms of their sums of squares, of which a thread
// for each row adds those there are room for, in their order, before the next are computed.
__global__ void __launch_bounds__(threads) key_sums(Slots s, double* totals, double* std) {
  __shared__ double terms[threads];
  const std::int64_t slot = blockIdx.y, rows = rows_of_block(s.m, threads), across = s.m < threads ? s.m : threads;
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t first = blockIdx.x * rows, row = first + thread / across, column = thread % across;
  const bool computes = thread < rows * across && row < s.n, adds = thread < rows && first + thread < s.n;
  const float* alphas = s.alphas + slot * s.stride;
  const double *products = s.products + slot * s.m * s.m, *sums = s.sums + slot * s.m;
  double sum = 0, squares = 0;
  for (std::int64_t from = 0; from < s.m; from += across) {
    __syncthreads();  // the terms before have been added
    // The column stands for the row of the symmetric matrix, so that neighbouring threads read neighbouring numbers.
    if (computes && from + column < s.m)
      terms[thread] = draw_body::gram_term(products + from + column, s.m, alphas + row * s.m, from + column, s.m);
    __syncthreads();
    if (!adds) continue;
    const auto count = static_cast<int>(s.m - from < across ? s.m - from : across);
    const float* alpha = alphas + (first + thread) * s.m + from;
    for (int i = 0; i < count; ++i) {
      squares += terms[thread * across + i];
      sum += static_cast<double>(alpha[i]) * sums[from + i];
    }
  }
  if (!adds) return;
  const std::int64_t at = slot * s.n + first + thread;
  totals[2 * at] = sum;
  totals[2 * at + 1] = squares;
  if (std) std[at] = draw_body::unbiased_std(sum, squares, static_cast<double>(s.widths[slot]));
}

// A block for each slot. All its threads load, the first adds the sums and the second the squares, row by row.
__global__ void __launch_bounds__(threads) std_of_all(const double* totals, Slots s, double* std) {
  __shared__ double loaded[2][threads];
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t slot = blockIdx.x;
  double sum = 0;
  for (std::int64_t first = 0; first < s.n; first += threads) {
    __syncthreads();  // the rows before have been added
    for (int which = 0; which < 2 && first + thread < s.n; ++which)
      loaded[which][thread] = totals[2 * (slot * s.n + first + thread) + which];
    __syncthreads();
    if (thread >= 2) continue;
    const auto count = static_cast<int>(s.n - first < threads ? s.n - first : threads);
#pragma unroll 8
    for (int i = 0; i < count; ++i) sum += loaded[thread][i];
  }
  __syncthreads();
  if (thread < 2) loaded[thread][0] = sum;
  __syncthreads();
  if (thread == 0)
    std[slot] = draw_body::unbiased_std(loaded[0][0], loaded[1][0], static_cast<double>(s.n * s.widths[slot]));
}

__global__ void __launch_bounds__(threads) scale(Scaling s, float* out) {
  const std::int64_t i = item(), slot = blockIdx.y, count = s.rows * s.m;
  if (i >= count) return;
  const double std = s.std[slot * s.std_stride + (s.begin + i / s.m) * s.std_step];
  out[slot * count + i] =
      draw_body::scaled(s.alphas[slot * s.stride + s.begin * s.m + i], draw_body::factor_to(std, s.target));
}

__global__ void __launch_bounds__(threads)
    normals_of(draw_body::Source source, const std::int64_t* position, KeyLayout layout, float* out) {
  const std::int64_t block = item(), slot = blockIdx.y;
  if (4 * block < layout.widths[slot])
    draw_body::draw_normals(source, position, layout.first_slot + slot, block, out + layout.begins[slot],
                            layout.widths[slot]);
}

// The sum over the lanes, computed by a block of `lanes` threads and returned to each of them.
struct BlockSum {
  double* shared;  // (lanes)

  template <class LaneSum>
  __device__ double operator()(const LaneSum& lane_sum) const {
    const int lane = static_cast<int>(threadIdx.x);
    __syncthreads();  // what stood here has been read
    shared[lane] = lane_sum(lane);
    for (int half = draw_body::lanes / 2; half > 0; half /= 2) {
      __syncthreads();
      if (lane < half) draw_body::fold_lane(shared, half, lane);
    }
    __syncthreads();
    return shared[0];
  }
};

// A block for each slot.
__global__ void __launch_bounds__(draw_body::lanes)
    factor_of(const float* keys, KeyLayout layout, std::int64_t repeats, const double* target, float* factors) {
  __shared__ double shared[draw_body::lanes];
  const std::int64_t slot = blockIdx.x;
  const double std =
      draw_body::key_deviation(BlockSum{shared}, keys + layout.begins[slot], layout.widths[slot], repeats);
  if (threadIdx.x == 0) factors[slot] = static_cast<float>(draw_body::factor_to(std, target[layout.first_slot + slot]));
}

__global__ void __launch_bounds__(threads) multiply(float* keys, KeyLayout layout, const float* factors) {
  const std::int64_t i = item(), slot = blockIdx.y;
  if (i < layout.widths[slot]) keys[layout.begins[slot] + i] *= factors[slot];
}

}  // namespace

void draw_alphas(const Alphas& alphas, float* out, cudaStream_t stream) {
  const std::int64_t rows = rows_of_block((alphas.m + 3) / 4, lanes_of_warp);
  alphas_of<<<blocks_for(alphas.slots * alphas.n, rows), lanes_of_warp, 0, stream>>>(alphas, out);
}

void draw_below(const draw_body::Source& source, const std::int64_t* position, const std::int64_t* samples,
                std::int64_t n, std::uint32_t bound, std::int64_t* out, cudaStream_t stream) {
  integers_of<<<blocks_for(n, lanes_of_warp), lanes_of_warp, 0, stream>>>(source, position, samples, n, bound, out);
}

void sum_keys(const Slots& slots, double* totals, double* std, cudaStream_t stream) {
  const dim3 grid = blocks_for_slots(slots.n, slots.slots, rows_of_block(slots.m, threads));
  key_sums<<<grid, threads, 0, stream>>>(slots, totals, std);
}

void std_of_all_keys(const Slots& slots, const double* totals, double* std, cudaStream_t stream) {
  std_of_all<<<static_cast<unsigned>(slots.slots), threads, 0, stream>>>(totals, slots, std);
}

void scale_alphas(const Scaling& scaling, float* out, cudaStream_t stream) {
  scale<<<blocks_for_slots(scaling.rows * scaling.m, scaling.slots), threads, 0, stream>>>(scaling, out);
}

void draw_wrong_keys(const draw_body::Source& source, const std::int64_t* position, const KeyLayout& layout,
                     const double* target, std::int64_t repeats, float* factors, float* out, cudaStream_t stream) {
  normals_of<<<blocks_for_slots((layout.widest + 3) / 4, layout.slots), threads, 0, stream>>>(source, position, layout,
                                                                                              out);
  factor_of<<<static_cast<unsigned>(layout.slots), draw_body::lanes, 0, stream>>>(out, layout, repeats, target,
                                                                                  factors);
  multiply<<<blocks_for_slots(layout.widest, layout.slots), threads, 0, stream>>>(out, layout, factors);
}

}  // namespace spankey::draw_kernels
