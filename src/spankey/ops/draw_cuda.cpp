// The operators of draw_op.h for CUDA.
#include "spankey/ops/draw_cuda.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <bit>
#include <cstdint>

namespace spankey {
namespace {

draw_body::Source source_of(std::int64_t seed, std::int64_t purpose) {
  return {std::bit_cast<std::uint64_t>(seed), static_cast<std::uint32_t>(purpose)};
}

// The distance between the slots of `alphas` (slots or 1, n, m).
std::int64_t stride_of(const at::Tensor& alphas) {
  TORCH_CHECK(alphas.dim() == 3 && alphas.is_contiguous());
  return alphas.size(0) == 1 ? 0 : alphas.size(1) * alphas.size(2);
}

at::Tensor draw_alphas_cuda(const at::Tensor& samples, const at::Tensor& position, std::int64_t law, std::int64_t m,
                            std::int64_t slots, std::int64_t seed, std::int64_t purpose) {
  const c10::cuda::OptionalCUDAGuard guard(samples.device());
  const std::int64_t n = samples.numel();
  at::Tensor alphas = at::empty({slots, n, m}, samples.options().dtype(at::kFloat));
  if (alphas.numel() == 0) return alphas;
  draw_kernels::draw_alphas({.law = static_cast<AlphaLaw>(law),
                             .source = source_of(seed, purpose),
                             .position = position.const_data_ptr<std::int64_t>(),
                             .samples = samples.const_data_ptr<std::int64_t>(),
                             .n = n,
                             .m = m,
                             .slots = slots},
                            alphas.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return alphas;
}

at::Tensor draw_below_cuda(const at::Tensor& samples, const at::Tensor& position, std::int64_t bound, std::int64_t seed,
                           std::int64_t purpose) {
  const c10::cuda::OptionalCUDAGuard guard(samples.device());
  at::Tensor drawn = at::empty({samples.numel()}, samples.options());
  if (drawn.numel() == 0) return drawn;
  draw_kernels::draw_below(source_of(seed, purpose), position.const_data_ptr<std::int64_t>(),
                           samples.const_data_ptr<std::int64_t>(), drawn.numel(), static_cast<std::uint32_t>(bound),
                           drawn.mutable_data_ptr<std::int64_t>(), c10::cuda::getCurrentCUDAStream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return drawn;
}

at::Tensor alpha_std_cuda(const at::Tensor& alphas, const at::Tensor& products, const at::Tensor& sums,
                          const at::Tensor& widths, bool each) {
  const c10::cuda::OptionalCUDAGuard guard(alphas.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  TORCH_CHECK(products.is_contiguous() && sums.is_contiguous());
  const draw_kernels::Slots slots{.alphas = alphas.const_data_ptr<float>(),
                                  .stride = stride_of(alphas),
                                  .products = products.const_data_ptr<double>(),
                                  .sums = sums.const_data_ptr<double>(),
                                  .widths = widths.const_data_ptr<std::int64_t>(),
                                  .n = alphas.size(1),
                                  .m = alphas.size(2),
                                  .slots = products.size(0)};
  const auto options = alphas.options().dtype(at::kDouble);
  at::Tensor std = at::empty({slots.slots, each ? slots.n : 1}, options),
             totals = at::empty({slots.slots, slots.n, 2}, options);
  if (slots.n > 0) {
    draw_kernels::sum_keys(slots, totals.mutable_data_ptr<double>(), each ? std.mutable_data_ptr<double>() : nullptr,
                           stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  if (!each) {
    draw_kernels::std_of_all_keys(slots, totals.const_data_ptr<double>(), std.mutable_data_ptr<double>(), stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  return std;
}

at::Tensor scale_alphas_cuda(const at::Tensor& alphas, const at::Tensor& std, double target, std::int64_t begin,
                             std::int64_t end) {
  const c10::cuda::OptionalCUDAGuard guard(alphas.device());
  TORCH_CHECK(std.is_contiguous());
  const draw_kernels::Scaling scaling{.alphas = alphas.const_data_ptr<float>(),
                                      .stride = stride_of(alphas),
                                      .std = std.const_data_ptr<double>(),
                                      .std_stride = std.size(1),
                                      .std_step = std.size(1) == 1 ? 0 : 1,
                                      .target = target,
                                      .begin = begin,
                                      .rows = end - begin,
                                      .m = alphas.size(2),
                                      .slots = std.size(0)};
  at::Tensor scaled = at::empty({scaling.slots, scaling.rows, scaling.m}, alphas.options());
  if (scaled.numel() == 0) return scaled;
  draw_kernels::scale_alphas(scaling, scaled.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return scaled;
}

at::Tensor draw_wrong_keys_cuda(const at::Tensor& position, at::IntArrayRef begins, at::IntArrayRef widths,
                                const at::Tensor& target, std::int64_t repeats, std::int64_t seed,
                                std::int64_t purpose) {
  using draw_kernels::KeyLayout;
  const c10::cuda::OptionalCUDAGuard guard(position.device());
  const auto slots = std::ssize(widths);
  const auto options = position.options().dtype(at::kFloat);
  at::Tensor keys = at::empty({begins[widths.size()]}, options), factors = at::empty({slots}, options);
  for (std::int64_t first = 0; first < slots; first += KeyLayout::most_slots) {
    KeyLayout layout{.first_slot = first,
                     .slots = static_cast<int>(std::min<std::int64_t>(KeyLayout::most_slots, slots - first)),
                     .begins = {},
                     .widths = {},
                     .widest = 0};
    std::copy_n(begins.begin() + first, layout.slots, layout.begins);
    std::copy_n(widths.begin() + first, layout.slots, layout.widths);
    layout.widest = *std::max_element(layout.widths, layout.widths + layout.slots);
    draw_kernels::draw_wrong_keys(source_of(seed, purpose), position.const_data_ptr<std::int64_t>(), layout,
                                  target.const_data_ptr<double>(), repeats, factors.mutable_data_ptr<float>() + first,
                                  keys.mutable_data_ptr<float>(), c10::cuda::getCurrentCUDAStream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  return keys;
}

TORCH_LIBRARY_IMPL(spankey, CUDA, library) {
  library.impl("draw_alphas", draw_alphas_cuda);
  library.impl("draw_below", draw_below_cuda);
  library.impl("alpha_std", alpha_std_cuda);
  library.impl("scale_alphas", scale_alphas_cuda);
  library.impl("draw_wrong_keys", draw_wrong_keys_cuda);
}

}  // namespace
}  // namespace spankey
