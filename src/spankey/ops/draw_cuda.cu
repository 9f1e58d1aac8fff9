// Drawing and rescaling of keys for CUDA, by the bodies of draw_body.h. One thread adds each sum whose order the CPU
// fixes.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <bit>
#include <cstdint>

#include "spankey/ops/draw_body.h"

namespace spankey {
namespace {

constexpr int threads = 128;
constexpr int few_threads = 32;  // of a block, where there is less work than a GPU has multiprocessors

unsigned blocks_for(std::int64_t items, int of_block = threads) {
  return static_cast<unsigned>((items + of_block - 1) / of_block);
}

// Blocks for `items` of each slot.
dim3 blocks_for_slots(std::int64_t items, std::int64_t slots) {
  return dim3(blocks_for(items), static_cast<unsigned>(slots));
}

__device__ std::int64_t item() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

draw_body::Source source_of(std::int64_t seed, std::int64_t purpose) {
  return {std::bit_cast<std::uint64_t>(seed), static_cast<std::uint32_t>(purpose)};
}

// A thread for four coefficients.
__global__ void alphas_of(AlphaLaw law, draw_body::Source source, const std::int64_t* position,
                          const std::int64_t* samples, std::int64_t n, std::int64_t m, std::int64_t slots, float* out) {
  const std::int64_t fours = (m + 3) / 4, i = item() / fours;
  if (i < slots * n)
    draw_body::draw_four(law, source, position, samples[i % n], i / n, item() % fours * 4, out + i * m, m);
}

__global__ void finish_alphas(AlphaLaw law, std::int64_t rows, std::int64_t m, float* alphas) {
  const std::int64_t row = item();
  if (row < rows) draw_body::finish_alpha(law, alphas + row * m, m);
}

__global__ void normals_of(draw_body::Source source, const std::int64_t* position, std::int64_t slot, std::int64_t d,
                           float* out) {
  const std::int64_t block = item();
  if (4 * block < d) draw_body::draw_normals(source, position, slot, block, out, d);
}

__global__ void integers_of(draw_body::Source source, const std::int64_t* position, const std::int64_t* samples,
                            std::int64_t n, std::uint32_t bound, std::int64_t* out) {
  const std::int64_t i = item();
  if (i < n) out[i] = draw_body::draw_below(source, position, samples[i], bound);
}

// The coefficients and Gram matrices of key slots, of which a block has one (blockIdx.y).
struct Slots {
  const float* alphas;            // (slots, n, m), or (n, m) for all
  std::int64_t stride;            // between slots of alphas
  const double *products, *sums;  // (slots, m, m) and (slots, m)
  const std::int64_t* widths;     // (slots)
  std::int64_t n, m;
};

// terms (slots, n, m)
__global__ void gram_terms(Slots s, double* terms) {
  const std::int64_t slot = blockIdx.y, i = item() % s.m, row = item() / s.m;
  if (row >= s.n) return;
  // The column stands for the row of the symmetric matrix, so that neighbouring threads read neighbouring numbers.
  terms[slot * s.n * s.m + item()] =
      draw_body::gram_term(s.products + slot * s.m * s.m + i, s.m, s.alphas + slot * s.stride + row * s.m, i, s.m);
}

// totals (slots, n, 2): sum and sum of squares of each key; std (slots, n) or null.
__global__ void key_sums(Slots s, const double* terms, double* totals, double* std) {
  const std::int64_t slot = blockIdx.y, row = item(), at = slot * s.n + row;
  if (row >= s.n) return;
  const float* alpha = s.alphas + slot * s.stride + row * s.m;
  double sum = 0, squares = 0;
#pragma unroll 8
  for (std::int64_t i = 0; i < s.m; ++i) {
    squares += terms[at * s.m + i];
    sum += static_cast<double>(alpha[i]) * s.sums[slot * s.m + i];
  }
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

__global__ void scale(const float* alphas, const double* std, std::int64_t step, double target, std::int64_t count,
                      std::int64_t m, float* out) {
  const std::int64_t i = item();
  if (i < count) out[i] = draw_body::scaled(alphas[i], draw_body::factor_to(std[i / m * step], target));
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

// One block.
__global__ void __launch_bounds__(draw_body::lanes)
    factor_of(const float* key, std::int64_t d, std::int64_t repeats, const double* target, float* factor) {
  __shared__ double shared[draw_body::lanes];
  const double std = draw_body::key_deviation(BlockSum{shared}, key, d, repeats);
  if (threadIdx.x == 0) *factor = static_cast<float>(draw_body::factor_to(std, *target));
}

__global__ void multiply(const float* key, const float* factor, std::int64_t d, float* out) {
  const std::int64_t i = item();
  if (i < d) out[i] = key[i] * *factor;
}

at::Tensor draw_alphas_cuda(const at::Tensor& samples, const at::Tensor& position, std::int64_t law, std::int64_t m,
                            std::int64_t slots, std::int64_t seed, std::int64_t purpose) {
  const c10::cuda::OptionalCUDAGuard guard(samples.device());
  const std::int64_t n = samples.numel();
  at::Tensor alphas = at::empty({slots, n, m}, samples.options().dtype(at::kFloat));
  if (alphas.numel() == 0) return alphas;
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const auto of_law = static_cast<AlphaLaw>(law);
  alphas_of<<<blocks_for(slots * n * ((m + 3) / 4), few_threads), few_threads, 0, stream>>>(
      of_law, source_of(seed, purpose), position.const_data_ptr<std::int64_t>(), samples.const_data_ptr<std::int64_t>(),
      n, m, slots, alphas.mutable_data_ptr<float>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  if (draw_body::is_raw(of_law)) return alphas;
  finish_alphas<<<blocks_for(slots * n, few_threads), few_threads, 0, stream>>>(of_law, slots * n, m,
                                                                                alphas.mutable_data_ptr<float>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return alphas;
}

at::Tensor draw_normals_cuda(const at::Tensor& position, std::int64_t d, std::int64_t slot, std::int64_t seed,
                             std::int64_t purpose) {
  const c10::cuda::OptionalCUDAGuard guard(position.device());
  at::Tensor key = at::empty({d}, position.options().dtype(at::kFloat));
  normals_of<<<blocks_for((d + 3) / 4), threads, 0, c10::cuda::getCurrentCUDAStream()>>>(
      source_of(seed, purpose), position.const_data_ptr<std::int64_t>(), slot, d, key.mutable_data_ptr<float>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return key;
}

at::Tensor draw_below_cuda(const at::Tensor& samples, const at::Tensor& position, std::int64_t bound, std::int64_t seed,
                           std::int64_t purpose) {
  const c10::cuda::OptionalCUDAGuard guard(samples.device());
  at::Tensor drawn = at::empty({samples.numel()}, samples.options());
  if (drawn.numel() == 0) return drawn;
  integers_of<<<blocks_for(drawn.numel()), threads, 0, c10::cuda::getCurrentCUDAStream()>>>(
      source_of(seed, purpose), position.const_data_ptr<std::int64_t>(), samples.const_data_ptr<std::int64_t>(),
      drawn.numel(), static_cast<std::uint32_t>(bound), drawn.mutable_data_ptr<std::int64_t>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return drawn;
}

at::Tensor alpha_std_cuda(const at::Tensor& alphas, const at::Tensor& products, const at::Tensor& sums,
                          const at::Tensor& widths, bool each) {
  const c10::cuda::OptionalCUDAGuard guard(alphas.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  TORCH_CHECK(alphas.dim() == 3 && alphas.is_contiguous() && products.is_contiguous() && sums.is_contiguous());
  const std::int64_t slots = products.size(0), n = alphas.size(1), m = alphas.size(2);
  const Slots s{alphas.const_data_ptr<float>(),
                alphas.size(0) == 1 ? 0 : n * m,
                products.const_data_ptr<double>(),
                sums.const_data_ptr<double>(),
                widths.const_data_ptr<std::int64_t>(),
                n,
                m};
  const auto options = alphas.options().dtype(at::kDouble);
  at::Tensor std = at::empty({slots, each ? n : 1}, options), terms = at::empty({slots, n, m}, options),
             totals = at::empty({slots, n, 2}, options);
  if (n > 0) {
    gram_terms<<<blocks_for_slots(n * m, slots), threads, 0, stream>>>(s, terms.mutable_data_ptr<double>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    key_sums<<<blocks_for_slots(n, slots), threads, 0, stream>>>(s, terms.const_data_ptr<double>(),
                                                                 totals.mutable_data_ptr<double>(),
                                                                 each ? std.mutable_data_ptr<double>() : nullptr);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  if (!each) {
    std_of_all<<<static_cast<unsigned>(slots), threads, 0, stream>>>(totals.const_data_ptr<double>(), s,
                                                                     std.mutable_data_ptr<double>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  return std;
}

at::Tensor scale_alphas_cuda(const at::Tensor& alphas, const at::Tensor& std, double target, std::int64_t begin,
                             std::int64_t end) {
  const c10::cuda::OptionalCUDAGuard guard(alphas.device());
  const std::int64_t m = alphas.size(1), step = std.numel() == 1 ? 0 : 1;
  at::Tensor scaled = at::empty({end - begin, m}, alphas.options());
  if (scaled.numel() == 0) return scaled;
  scale<<<blocks_for(scaled.numel()), threads, 0, c10::cuda::getCurrentCUDAStream()>>>(
      alphas.const_data_ptr<float>() + begin * m, std.const_data_ptr<double>() + begin * step, step, target,
      scaled.numel(), m, scaled.mutable_data_ptr<float>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return scaled;
}

at::Tensor rescale_key_cuda(const at::Tensor& key, const at::Tensor& target, std::int64_t index, std::int64_t repeats) {
  const c10::cuda::OptionalCUDAGuard guard(key.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const std::int64_t d = key.numel();
  at::Tensor factor = at::empty({1}, key.options()), out = at::empty({1, d}, key.options());
  factor_of<<<1, draw_body::lanes, 0, stream>>>(key.const_data_ptr<float>(), d, repeats,
                                                target.const_data_ptr<double>() + index,
                                                factor.mutable_data_ptr<float>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  multiply<<<blocks_for(d), threads, 0, stream>>>(key.const_data_ptr<float>(), factor.const_data_ptr<float>(), d,
                                                  out.mutable_data_ptr<float>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

TORCH_LIBRARY_IMPL(spankey, CUDA, library) {
  library.impl("draw_alphas", draw_alphas_cuda);
  library.impl("draw_normals", draw_normals_cuda);
  library.impl("draw_below", draw_below_cuda);
  library.impl("alpha_std", alpha_std_cuda);
  library.impl("scale_alphas", scale_alphas_cuda);
  library.impl("rescale_key", rescale_key_cuda);
}

}  // namespace
}  // namespace spankey
