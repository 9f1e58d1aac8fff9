// Fused CPU kernels of pool_op.h, float32 over channels_last memory. Sums over images are formed in groups of fixed
// size and added in order: the number of threads cannot change a bit.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "spankey/ops/cpu_level.h"
#include "spankey/ops/pool_op.h"

namespace spankey {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::uint8_t closed = 4;

struct ConvShape {
  std::int64_t pooled_height, pooled_width, channels;
};

#define SPANKEY_KERNELS "spankey/ops/pool_kernel.inc"
#include "spankey/ops/simd_levels.inc"
#undef SPANKEY_KERNELS

// ---------------------------------------------------------------------------------------------- relu_max_pool

bool pool_fusible(const at::Tensor& h) {
  return h.scalar_type() == at::kFloat && h.dim() == 4 && h.numel() > 0 && h.size(2) % 2 == 0 && h.size(3) % 2 == 0;
}

// -> pooled, index (uint8); both channels_last
std::pair<at::Tensor, at::Tensor> pool_forward(const at::Tensor& input) {
  const at::Tensor h = input.contiguous(at::MemoryFormat::ChannelsLast);
  const std::int64_t n = h.size(0), channels = h.size(1), height = h.size(2) / 2, width = h.size(3) / 2;
  at::Tensor out = at::empty({n, channels, height, width}, h.options(), at::MemoryFormat::ChannelsLast);
  at::Tensor index =
      at::empty({n, channels, height, width}, h.options().dtype(at::kByte), at::MemoryFormat::ChannelsLast);
  const float* in = h.const_data_ptr<float>();
  float* result = out.mutable_data_ptr<float>();
  std::uint8_t* choice = index.mutable_data_ptr<std::uint8_t>();
  const std::int64_t row = width * channels;  // elements of a pooled row; an input row has twice as many
  const auto kernel = at_level(avx512::pool_row, avx2::pool_row, plain::pool_row);
  at::parallel_for(0, n * height, std::max<std::int64_t>(1, 8192 / row), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      kernel(in + 4 * r * row, in + (4 * r + 2) * row, width, channels, result + r * row, choice + r * row);
  });
  return {out, index};
}

at::Tensor pool_backward(const at::Tensor& gradient, const at::Tensor& index) {
  const at::Tensor g = gradient.contiguous(at::MemoryFormat::ChannelsLast);
  const std::int64_t n = g.size(0), channels = g.size(1), height = g.size(2), width = g.size(3);
  at::Tensor out = at::empty({n, channels, 2 * height, 2 * width}, g.options(), at::MemoryFormat::ChannelsLast);
  const float* in = g.const_data_ptr<float>();
  float* result = out.mutable_data_ptr<float>();
  const std::uint8_t* choice = index.const_data_ptr<std::uint8_t>();
  const std::int64_t row = width * channels;
  const auto kernel = at_level(avx512::unpool_row, avx2::unpool_row, plain::unpool_row);
  at::parallel_for(0, n * height, std::max<std::int64_t>(1, 8192 / row), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      kernel(in + r * row, choice + r * row, width, channels, result + 4 * r * row, result + (4 * r + 2) * row);
  });
  return out;
}

class ReluMaxPool : public torch::autograd::Function<ReluMaxPool> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& h) {
    at::AutoDispatchBelowADInplaceOrView below;
    auto [out, index] = pool_forward(h);
    ctx->save_for_backward({index});
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    return {pool_backward(gradients[0], ctx->get_saved_variables()[0])};
  }
};

at::Tensor relu_max_pool_autograd(const at::Tensor& h) {
  if (!pool_fusible(h)) return at::max_pool2d(h, 2).relu();
  return ReluMaxPool::apply(h);
}

at::Tensor relu_max_pool_cpu(const at::Tensor& h) {
  return pool_fusible(h) ? pool_forward(h).first : at::max_pool2d(h, 2).relu();
}

// ----------------------------------------------------------------------------------------- conv_relu_max_pool

bool conv_fusible(const at::Tensor& x, const at::Tensor& weight) {
  return pool_fusible(x) && x.size(1) == 1 && !(x.requires_grad() && at::GradMode::is_enabled()) &&
         weight.size(0) % 16 == 0 && weight.size(2) == 3 && weight.size(3) == 3;
}

// Image `i` of x (n, 1, H, W), surrounded by zeros, in the calling thread's buffer.
class PaddedImages {
 public:
  explicit PaddedImages(const at::Tensor& x)
      : data_(x.const_data_ptr<float>()),
        height_(x.size(2)),
        width_(x.size(3)),
        padded_(static_cast<std::size_t>((height_ + 2) * stride()), 0.0f) {}
  std::int64_t stride() const { return width_ + 2; }
  const float* image(std::int64_t i) {
    for (std::int64_t y = 0; y < height_; ++y)
      std::memcpy(padded_.data() + (y + 1) * stride() + 1, data_ + (i * height_ + y) * width_,
                  static_cast<std::size_t>(width_) * sizeof(float));
    return padded_.data();
  }

 private:
  const float* data_;
  std::int64_t height_, width_;
  std::vector<float> padded_;
};

ConvShape conv_shape(const at::Tensor& x, std::int64_t channels) {
  return {x.size(2) / 2, x.size(3) / 2, channels};
}

std::pair<at::Tensor, at::Tensor> conv_forward(const at::Tensor& input, const at::Tensor& weight,
                                               const at::Tensor& bias) {
  const at::Tensor x = input.contiguous();
  const std::int64_t n = x.size(0), channels = weight.size(0);
  const ConvShape shape = conv_shape(x, channels);
  const at::Tensor taps = weight.view({channels, 9}).t().contiguous();  // (9, channels)
  const at::Tensor offsets = bias.contiguous();
  const std::vector<std::int64_t> sizes = {n, channels, shape.pooled_height, shape.pooled_width};
  at::Tensor out = at::empty(sizes, x.options(), at::MemoryFormat::ChannelsLast);
  at::Tensor index = at::empty(sizes, x.options().dtype(at::kByte), at::MemoryFormat::ChannelsLast);
  const float* w = taps.const_data_ptr<float>();
  const float* b = offsets.const_data_ptr<float>();
  float* result = out.mutable_data_ptr<float>();
  std::uint8_t* choice = index.mutable_data_ptr<std::uint8_t>();
  const std::int64_t each = out.numel() / n;
  const auto kernel = at_level(avx512::conv_pool_image, avx2::conv_pool_image, plain::conv_pool_image);
  at::parallel_for(0, n, 1, [&](std::int64_t begin, std::int64_t end) {
    PaddedImages images(x);
    for (std::int64_t i = begin; i < end; ++i)
      kernel(images.image(i), images.stride(), w, b, shape, result + i * each, choice + i * each);
  });
  return {out, index};
}

// -> gradients of weight (channels, 1, 3, 3) and bias (channels)
std::pair<at::Tensor, at::Tensor> conv_backward(const at::Tensor& x, const at::Tensor& gradient,
                                                const at::Tensor& index) {
  constexpr std::int64_t group = 16;  // images summed by one thread before the groups are added
  const at::Tensor g = gradient.contiguous(at::MemoryFormat::ChannelsLast);
  const std::int64_t n = x.size(0), channels = g.size(1), each = g.numel() / n;
  const std::int64_t groups = (n + group - 1) / group;
  const ConvShape shape = conv_shape(x, channels);
  at::Tensor sums = at::zeros({groups, 10, channels}, x.options());
  const float* in = g.const_data_ptr<float>();
  const std::uint8_t* choice = index.const_data_ptr<std::uint8_t>();
  float* partial = sums.mutable_data_ptr<float>();
  const auto kernel =
      at_level(avx512::conv_pool_image_backward, avx2::conv_pool_image_backward, plain::conv_pool_image_backward);
  at::parallel_for(0, groups, 1, [&](std::int64_t begin, std::int64_t end) {
    PaddedImages images(x);
    for (std::int64_t i = begin * group; i < std::min(end * group, n); ++i)
      kernel(images.image(i), images.stride(), in + i * each, choice + i * each, shape,
             partial + i / group * 10 * channels);
  });
  for (std::int64_t other = 1; other < groups; ++other) sums[0] += sums[other];
  return {sums[0].narrow(0, 0, 9).t().reshape({channels, 1, 3, 3}), sums[0][9]};
}

class ConvReluMaxPool : public torch::autograd::Function<ConvReluMaxPool> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
    at::AutoDispatchBelowADInplaceOrView below;
    auto [out, index] = conv_forward(x, weight, bias);
    ctx->save_for_backward({x.contiguous(), index});
    return out;
  }
  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const variable_list saved = ctx->get_saved_variables();
    auto [weight, bias] = conv_backward(saved[0], gradients[0], saved[1]);
    return {at::Tensor(), weight, bias};
  }
};

at::Tensor conv_relu_max_pool_autograd(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!conv_fusible(x, weight)) return relu_max_pool(at::conv2d(x, weight, bias, 1, 1));
  return ConvReluMaxPool::apply(x, weight, bias);
}

at::Tensor conv_relu_max_pool_cpu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!conv_fusible(x, weight)) return relu_max_pool(at::conv2d(x, weight, bias, 1, 1));
  return conv_forward(x, weight, bias).first;
}

TORCH_LIBRARY_IMPL(spankey, CPU, library) {
  library.impl("relu_max_pool", relu_max_pool_cpu);
  library.impl("conv_relu_max_pool", conv_relu_max_pool_cpu);
}

TORCH_LIBRARY_IMPL(spankey, AutogradCPU, library) {
  library.impl("relu_max_pool", relu_max_pool_autograd);
  library.impl("conv_relu_max_pool", conv_relu_max_pool_autograd);
}

}  // namespace
}  // namespace spankey
