// spankey::inject for CUDA: float32 or bfloat16 activations, float32 keys. A thread has a few neighbouring columns of a
// few rows, so that each number of the basis serves several rows; coefficients come through shared memory.
#include <ATen/core/Tensor.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/util/BFloat16.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>

#include "spankey/inject_body.h"
#include "spankey/inject_op.h"

namespace spankey {
namespace {

constexpr int rows_at_once = 4;
constexpr int chunk = 256;  // coefficients of a row in shared memory
constexpr std::int64_t most_threads = 256, most_groups = 65535;

// One pass of the batch: rows of the dense (rows, d) matrices h and out.
template <class T>
struct Part {
  const T* h;
  T* out;
  const float* coefficients;  // (rows or 1, m), or without a basis the keys (rows or 1, d)
  const float* basis;         // (m, d) or null
  std::int64_t rows, d, m;
  std::int64_t stride;  // of the rows of coefficients; 0: one row for all
  float gamma;
};

// Keys of the rows from `first` on. All threads of a block come here: they fetch the coefficients together.
template <class T, int width>
__device__ void form_keys(const Part<T>& p, std::int64_t first, std::int64_t column, float* alpha,
                          inject_body::Keys<rows_at_once, width>& keys) {
  for (std::int64_t q = 0; q < p.m; q += chunk) {
    const auto count = static_cast<int>(p.m - q < chunk ? p.m - q : chunk);
    __syncthreads();  // the chunk before has been used
    for (int i = static_cast<int>(threadIdx.x); i < rows_at_once * count; i += static_cast<int>(blockDim.x)) {
      const std::int64_t row = first + i / count;
      alpha[i] = row < p.rows ? p.coefficients[row * p.stride + q + i % count] : 0.0F;
    }
    __syncthreads();
    if (column < p.d) inject_body::add_products(alpha, count, p.basis + q * p.d + column, p.d, count, keys);
  }
}

template <InjectMode mode, class T, int width>
__global__ void __launch_bounds__(most_threads) inject_rows(Part<T> p) {
  __shared__ float alpha[rows_at_once * chunk];
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * width;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.y) * rows_at_once;
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * rows_at_once; first < p.rows; first += step) {
    inject_body::Keys<rows_at_once, width> keys = {};
    if (p.basis) form_keys(p, first, column, alpha, keys);
    if (column >= p.d) continue;
#pragma unroll
    for (int r = 0; r < rows_at_once; ++r) {
      const std::int64_t row = first + r;
      if (row >= p.rows) break;
      if (!p.basis) {
        using Pack = inject_body::Pack<float, width>;
        const auto key = *reinterpret_cast<const Pack*>(p.coefficients + row * p.stride + column);
        for (int i = 0; i < width; ++i) keys.values[r][i] = key.values[i];
      }
      inject_body::apply_row<mode>(p.h + row * p.d + column, p.out + row * p.d + column, keys.values[r], p.gamma);
    }
  }
}

template <class T>
bool aligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % alignof(T) == 0;
}

template <InjectMode mode, class T, int width>
void launch(const Part<T>& p, cudaStream_t stream) {
  const std::int64_t columns = (p.d + width - 1) / width;
  const std::int64_t threads = std::min(most_threads, (columns + 31) / 32 * 32);
  const dim3 grid(static_cast<unsigned>((columns + threads - 1) / threads),
                  static_cast<unsigned>(std::min(most_groups, (p.rows + rows_at_once - 1) / rows_at_once)));
  inject_rows<mode, T, width><<<grid, static_cast<unsigned>(threads), 0, stream>>>(p);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

template <InjectMode mode, class T>
void launch(const Part<T>& p, cudaStream_t stream) {
  constexpr int width = 16 / sizeof(T);
  using Numbers = inject_body::Pack<T, width>;
  using KeyNumbers = inject_body::Pack<float, width>;
  const bool whole = p.d % width == 0 && aligned<Numbers>(p.h) && aligned<Numbers>(p.out) &&
                     aligned<KeyNumbers>(p.basis ? p.basis : p.coefficients);
  whole ? launch<mode, T, width>(p, stream) : launch<mode, T, 1>(p, stream);
}

template <class T>
void launch(InjectMode mode, const Part<T>& p, cudaStream_t stream) {
  switch (mode) {
    case InjectMode::add:
      return launch<InjectMode::add>(p, stream);
    case InjectMode::clamp:
      return launch<InjectMode::clamp>(p, stream);
    case InjectMode::exp:
      return launch<InjectMode::exp>(p, stream);
    case InjectMode::sym:
      return launch<InjectMode::sym>(p, stream);
    case InjectMode::product:
      return launch<InjectMode::product>(p, stream);
  }
}

void check_part(const at::Tensor& h, const at::Tensor& coefficients, const at::Tensor& basis, std::int64_t rows,
                std::int64_t d) {
  const bool has_basis = basis.numel() > 0;
  TORCH_CHECK(coefficients.dim() == 2 && coefficients.is_contiguous() && coefficients.scalar_type() == at::kFloat &&
              coefficients.device() == h.device());
  TORCH_CHECK(coefficients.size(0) == 1 || coefficients.size(0) == rows);
  TORCH_CHECK(coefficients.size(1) == (has_basis ? basis.size(0) : d));
  if (has_basis)
    TORCH_CHECK(basis.dim() == 2 && basis.size(1) == d && basis.is_contiguous() && basis.scalar_type() == at::kFloat &&
                basis.device() == h.device());
}

template <class T>
void inject_parts(const at::Tensor& h, at::Tensor& out, at::TensorList coefficients, at::TensorList bases,
                  at::IntArrayRef rows, double gamma, InjectMode mode) {
  const auto stream = at::cuda::getCurrentCUDAStream();
  const std::int64_t d = h.numel() / h.size(0);
  std::int64_t first = 0;
  for (std::size_t p = 0; p < rows.size(); first += rows[p], ++p) {
    if (rows[p] == 0) continue;
    TORCH_CHECK(first + rows[p] <= h.size(0));
    const T* from = h.const_data_ptr<T>() + first * d;
    T* to = out.mutable_data_ptr<T>() + first * d;
    if (coefficients[p].numel() == 0) {
      const auto bytes = static_cast<std::size_t>(rows[p] * d) * sizeof(T);
      C10_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream));
      continue;
    }
    check_part(h, coefficients[p], bases[p], rows[p], d);
    const bool shared = coefficients[p].size(0) == 1;
    launch<T>(mode,
              {.h = from,
               .out = to,
               .coefficients = coefficients[p].const_data_ptr<float>(),
               .basis = bases[p].numel() > 0 ? bases[p].const_data_ptr<float>() : nullptr,
               .rows = rows[p],
               .d = d,
               .m = coefficients[p].size(1),
               .stride = shared ? 0 : coefficients[p].size(1),
               .gamma = static_cast<float>(effective_gamma(mode, gamma))},
              stream);
  }
  TORCH_CHECK(first == h.size(0));
}

at::Tensor inject_cuda(const at::Tensor& h, at::TensorList coefficients, at::TensorList bases, at::IntArrayRef rows,
                       double gamma, std::int64_t mode) {
  const c10::cuda::OptionalCUDAGuard guard(h.device());
  TORCH_CHECK(h.is_contiguous() || (h.dim() == 4 && h.is_contiguous(at::MemoryFormat::ChannelsLast)));
  TORCH_CHECK(h.scalar_type() == at::kFloat || h.scalar_type() == at::kBFloat16, "keys enter float32 or bfloat16");
  TORCH_CHECK(coefficients.size() == rows.size() && bases.size() == rows.size());
  at::Tensor out = at::empty_like(h);
  if (h.numel() == 0) return out;
  if (h.scalar_type() == at::kBFloat16)
    inject_parts<c10::BFloat16>(h, out, coefficients, bases, rows, gamma, static_cast<InjectMode>(mode));
  else
    inject_parts<float>(h, out, coefficients, bases, rows, gamma, static_cast<InjectMode>(mode));
  return out;
}

TORCH_LIBRARY_IMPL(spankey, CUDA, library) {
  library.impl("inject", inject_cuda);
}

}  // namespace
}  // namespace spankey
