// Drawing and rescaling of keys for CUDA: the bodies of draw_body.h, one thread for each sequential sum.
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

unsigned blocks_for(std::int64_t items) {
  return static_cast<unsigned>((items + threads - 1) / threads);
}

__device__ std::int64_t item() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

draw_body::Source source_of(std::int64_t seed, std::int64_t purpose) {
  return {std::bit_cast<std::uint64_t>(seed), static_cast<std::uint32_t>(purpose)};
}

__global__ void alphas_of(AlphaLaw law, draw_body::Source source, const std::int64_t* position,
                          const std::int64_t* samples, std::int64_t n, std::int64_t m, std::int64_t slots, float* out) {
  const std::int64_t i = item();
  if (i < slots * n) draw_body::draw_alpha(law, source, position, samples[i % n], i / n, out + i * m, m);
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

__global__ void gram_terms(const float* alphas, const double* products, std::int64_t n, std::int64_t m, double* terms) {
  const std::int64_t i = item() % m, row = item() / m;
  // The column stands for the row of the symmetric matrix, so that neighbouring threads read neighbouring numbers.
  if (row < n) terms[item()] = draw_body::gram_term(products + i, m, alphas + row * m, i, m);
}

// totals (n, 2): sum and sum of squares of each key; std (n) or null.
__global__ void key_sums(const float* alphas, const double* sums, const double* terms, std::int64_t n, std::int64_t m,
                         std::int64_t width, double* totals, double* std) {
  const std::int64_t row = item();
  if (row >= n) return;
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < m; ++i) {
    squares += terms[row * m + i];
    sum += static_cast<double>(alphas[row * m + i]) * sums[i];
  }
  totals[2 * row] = sum;
  totals[2 * row + 1] = squares;
  if (std) std[row] = draw_body::unbiased_std(sum, squares, static_cast<double>(width));
}

// One thread.
__global__ void std_of_all(const double* totals, std::int64_t n, std::int64_t width, double* std) {
  double sum = 0, squares = 0;
#pragma unroll 8
  for (std::int64_t row = 0; row < n; ++row) {
    sum += totals[2 * row];
    squares += totals[2 * row + 1];
  }
  *std = draw_body::unbiased_std(sum, squares, static_cast<double>(n * width));
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
  alphas_of<<<blocks_for(slots * n), threads, 0, c10::cuda::getCurrentCUDAStream()>>>(
      static_cast<AlphaLaw>(law), source_of(seed, purpose), position.const_data_ptr<std::int64_t>(),
      samples.const_data_ptr<std::int64_t>(), n, m, slots, alphas.mutable_data_ptr<float>());
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
                          std::int64_t width, bool each) {
  const c10::cuda::OptionalCUDAGuard guard(alphas.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  TORCH_CHECK(alphas.dim() == 2 && alphas.is_contiguous() && products.is_contiguous());
  const std::int64_t n = alphas.size(0), m = alphas.size(1);
  const auto options = alphas.options().dtype(at::kDouble);
  at::Tensor std = at::empty({each ? n : 1}, options), terms = at::empty({n, m}, options),
             totals = at::empty({n, 2}, options);
  if (n > 0) {
    gram_terms<<<blocks_for(n * m), threads, 0, stream>>>(
        alphas.const_data_ptr<float>(), products.const_data_ptr<double>(), n, m, terms.mutable_data_ptr<double>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    key_sums<<<blocks_for(n), threads, 0, stream>>>(
        alphas.const_data_ptr<float>(), sums.const_data_ptr<double>(), terms.const_data_ptr<double>(), n, m, width,
        totals.mutable_data_ptr<double>(), each ? std.mutable_data_ptr<double>() : nullptr);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  if (!each) {
    std_of_all<<<1, 1, 0, stream>>>(totals.const_data_ptr<double>(), n, width, std.mutable_data_ptr<double>());
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
