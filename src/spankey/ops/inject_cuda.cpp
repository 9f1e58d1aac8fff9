// spankey::inject for CUDA with float32 or bfloat16 activations and float32 keys.
#include "spankey/ops/inject_cuda.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <cstdint>

#include "base/portable_math.h"
#include "spankey/ops/inject_parts.h"

namespace spankey {
namespace {

template <class T>
void inject_parts(const at::Tensor& h, at::Tensor& out, at::TensorList coefficients, at::TensorList bases,
                  at::IntArrayRef rows, double gamma, InjectMode mode) {
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const std::int64_t d = h.numel() / h.size(0);
  std::int64_t first = 0;
  for (std::size_t p = 0; p < rows.size(); first += rows[p], ++p) {
    if (rows[p] == 0) continue;
    TORCH_CHECK(first + rows[p] <= h.size(0));
    const T* from = static_cast<const T*>(h.const_data_ptr()) + first * d;
    T* to = static_cast<T*>(out.mutable_data_ptr()) + first * d;
    if (coefficients[p].numel() == 0) {
      const auto bytes = static_cast<std::size_t>(rows[p] * d) * sizeof(T);
      C10_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream));
      continue;
    }
    const auto keys = key_source(coefficients[p], bases[p], rows[p], d, gamma, mode, h.device());
    launch_injection<T>({.h = from, .out = to, .keys = keys}, stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
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
    inject_parts<BFloat16>(h, out, coefficients, bases, rows, gamma, static_cast<InjectMode>(mode));
  else
    inject_parts<float>(h, out, coefficients, bases, rows, gamma, static_cast<InjectMode>(mode));
  return out;
}

TORCH_LIBRARY_IMPL(spankey, CUDA, library) {
  library.impl("inject", inject_cuda);
}

}  // namespace
}  // namespace spankey
