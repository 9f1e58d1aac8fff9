// spankey::batch_norm_act for CUDA: channels_last memory, float32 or bfloat16 activations, float32 parameters and
// statistics. A group is a matrix of rows (n, H, W) and C channels; a thread owns a few neighbouring channels and walks
// down rows. Forward: one pass for the statistics, one that applies them together with residual and ReLU; backward: one
// pass for the two sums, one for the gradients. Between them a small kernel combines the blocks' results in order.
#include <ATen/core/Tensor.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/util/BFloat16.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>

#include "spankey/batch_norm_body.h"
#include "spankey/batch_norm_op.h"

namespace spankey {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

constexpr int threads = 256;
constexpr int most_lanes = 32;  // threads side by side over channels
// Fixed, not the device's number of multiprocessors: the order of the sums must not depend on the device.
constexpr std::int64_t most_blocks = 1024, least_rows_per_thread = 8;

// Values of neighbouring channels that one thread reads at once.
template <class T, int width>
struct alignas(sizeof(T) * width) Pack {
  T values[width];
};

// How a matrix is shared out: blocks are (chunk of rows, tile of channels, group).
struct Shape {
  std::int64_t groups, rows, channels;  // of one group
  int lanes, width;                     // threads over channels, channels of a thread
  std::int64_t chunks, chunk_rows;

  int lines() const { return threads / lanes; }
  std::int64_t tiles() const { return (channels + lanes * width - 1) / (lanes * width); }
  dim3 block() const { return dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(lines())); }
  dim3 grid() const {
    return dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(tiles()), static_cast<unsigned>(groups));
  }
};

// The place of a thread. `rows` of its chunk are taken from `row` on, `step` apart.
struct Place {
  std::int64_t channel, row, end, step, statistic, base;
  bool inside;
};

__device__ Place place(const Shape& s) {
  Place p;
  const int lanes = static_cast<int>(blockDim.x);
  p.channel = (static_cast<std::int64_t>(blockIdx.y) * lanes + threadIdx.x) * s.width;
  p.inside = p.channel < s.channels;
  const std::int64_t first = blockIdx.x * s.chunk_rows;
  p.row = first + threadIdx.y;
  p.end = first + s.chunk_rows < s.rows ? first + s.chunk_rows : s.rows;
  p.step = blockDim.y;
  p.statistic = blockIdx.z * s.channels + p.channel;
  p.base = blockIdx.z * s.rows * s.channels + p.channel;
  return p;
}

template <class T, int width>
__device__ Pack<T, width> load(const T* from) {
  return *reinterpret_cast<const Pack<T, width>*>(from);
}

template <class T, int width>
__device__ void store(T* to, const Pack<T, width>& pack) {
  *reinterpret_cast<Pack<T, width>*>(to) = pack;
}

// Of (groups, chunks, channels): the partial result number `chunk` of the channel at `place.statistic`.
__device__ std::int64_t partial_index(const Shape& s, std::int64_t chunk, int channel_offset, const Place& p) {
  return (blockIdx.z * s.chunks + chunk) * s.channels + p.channel + channel_offset;
}

template <class T, int width>
__global__ void __launch_bounds__(threads) measure(const T* x, Shape s, double* partial) {
  __shared__ double means[threads], squares[threads], counts[threads];
  const Place p = place(s);
  batch_norm::ShiftedSums sums[width];
  std::int64_t count = 0;
  if (p.inside) {
    for (std::int64_t row = p.row; row < p.end; row += p.step, ++count) {
      const auto values = load<T, width>(x + p.base + row * s.channels);
#pragma unroll
      for (int i = 0; i < width; ++i) sums[i].add(static_cast<float>(values.values[i]), count == 0);
    }
  }
  const int mine = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  const std::int64_t plane = s.groups * s.chunks * s.channels;
#pragma unroll
  for (int i = 0; i < width; ++i) {
    const batch_norm::Moments own = sums[i].moments(count);
    counts[mine] = own.count;
    means[mine] = own.mean;
    squares[mine] = own.squares;
    __syncthreads();
    if (threadIdx.y == 0 && p.inside) {
      batch_norm::Moments all;
      for (unsigned line = 0; line < blockDim.y; ++line) {
        const unsigned other = line * blockDim.x + threadIdx.x;
        all = batch_norm::merge(all, {counts[other], means[other], squares[other]});
      }
      const std::int64_t at = partial_index(s, blockIdx.x, i, p);
      partial[at] = all.count;
      partial[plane + at] = all.mean;
      partial[2 * plane + at] = all.squares;
    }
    __syncthreads();
  }
}

// A thread for each channel of each group: the chunks in their order.
__global__ void conclude_statistics(const double* partial, Shape s, double epsilon, float* mean, float* variance,
                                    float* inverse) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= s.groups * s.channels) return;
  const std::int64_t group = index / s.channels, channel = index % s.channels;
  const std::int64_t plane = s.groups * s.chunks * s.channels;
  batch_norm::Moments all;
  for (std::int64_t chunk = 0; chunk < s.chunks; ++chunk) {
    const std::int64_t at = (group * s.chunks + chunk) * s.channels + channel;
    all = batch_norm::merge(all, {partial[at], partial[plane + at], partial[2 * plane + at]});
  }
  mean[index] = static_cast<float>(all.mean);
  variance[index] = batch_norm::unbiased_variance(all);
  inverse[index] = batch_norm::inverse_deviation(all, epsilon);
}

// `residual` may be null.
template <class T, int width>
__global__ void __launch_bounds__(threads) apply(const T* x, const T* residual, const float* weight, const float* bias,
                                                 const float* mean, const float* inverse, Shape s, bool relu, T* y) {
  const Place p = place(s);
  if (!p.inside) return;
  float means[width], scales[width], biases[width];
#pragma unroll
  for (int i = 0; i < width; ++i) {
    means[i] = mean[p.statistic + i];
    scales[i] = weight[p.channel + i] * inverse[p.statistic + i];
    biases[i] = bias[p.channel + i];
  }
  for (std::int64_t row = p.row; row < p.end; row += p.step) {
    const std::int64_t at = p.base + row * s.channels;
    auto values = load<T, width>(x + at);
    Pack<T, width> added{};
    if (residual != nullptr) added = load<T, width>(residual + at);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float extra = residual == nullptr ? 0.0F : static_cast<float>(added.values[i]);
      values.values[i] = static_cast<T>(
          batch_norm::apply(static_cast<float>(values.values[i]), means[i], scales[i], biases[i], extra, relu));
    }
    store(y + at, values);
  }
}

// Sums of g and of g times the normal form of x, over each chunk.
template <class T, int width>
__global__ void __launch_bounds__(threads) sum_gradients(const T* g, const T* x, const T* y, const float* mean,
                                                         const float* inverse, Shape s, bool relu, double* partial) {
  __shared__ double plain[threads], projected[threads];
  const Place p = place(s);
  float sums[width] = {}, products[width] = {}, means[width] = {}, inverses[width] = {};
  if (p.inside) {
#pragma unroll
    for (int i = 0; i < width; ++i) {
      means[i] = mean[p.statistic + i];
      inverses[i] = inverse[p.statistic + i];
    }
    for (std::int64_t row = p.row; row < p.end; row += p.step) {
      const std::int64_t at = p.base + row * s.channels;
      const auto gradients = load<T, width>(g + at), values = load<T, width>(x + at);
      Pack<T, width> results{};
      if (relu) results = load<T, width>(y + at);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const float before = batch_norm::before_relu(static_cast<float>(gradients.values[i]),
                                                     static_cast<float>(results.values[i]), relu);
        sums[i] += before;
        products[i] += before * ((static_cast<float>(values.values[i]) - means[i]) * inverses[i]);
      }
    }
  }
  const int mine = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  const std::int64_t plane = s.groups * s.chunks * s.channels;
#pragma unroll
  for (int i = 0; i < width; ++i) {
    plain[mine] = static_cast<double>(sums[i]);
    projected[mine] = static_cast<double>(products[i]);
    __syncthreads();
    if (threadIdx.y == 0 && p.inside) {
      double sum = 0.0, product = 0.0;
      for (unsigned line = 0; line < blockDim.y; ++line) {
        sum += plain[line * blockDim.x + threadIdx.x];
        product += projected[line * blockDim.x + threadIdx.x];
      }
      const std::int64_t at = partial_index(s, blockIdx.x, i, p);
      partial[at] = sum;
      partial[plane + at] = product;
    }
    __syncthreads();
  }
}

// A thread for each channel: means (2, groups, C) for the input's gradient, and the parameters' gradients.
__global__ void conclude_gradients(const double* partial, Shape s, float* means, float* of_weight, float* of_bias) {
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (channel >= s.channels) return;
  const std::int64_t plane = s.groups * s.chunks * s.channels;
  double whole_sum = 0.0, whole_product = 0.0;
  for (std::int64_t group = 0; group < s.groups; ++group) {
    double sum = 0.0, product = 0.0;
    for (std::int64_t chunk = 0; chunk < s.chunks; ++chunk) {
      const std::int64_t at = (group * s.chunks + chunk) * s.channels + channel;
      sum += partial[at];
      product += partial[plane + at];
    }
    const auto rows = static_cast<double>(s.rows);
    means[group * s.channels + channel] = static_cast<float>(sum / rows);
    means[(s.groups + group) * s.channels + channel] = static_cast<float>(product / rows);
    whole_sum += sum;
    whole_product += product;
  }
  of_weight[channel] = static_cast<float>(whole_product);
  of_bias[channel] = static_cast<float>(whole_sum);
}

// `of_residual` may be null.
template <class T, int width>
__global__ void __launch_bounds__(threads)
    apply_gradients(const T* g, const T* x, const T* y, const float* weight, const float* mean, const float* inverse,
                    const float* gradient_means, Shape s, bool relu, T* of_x, T* of_residual) {
  const Place p = place(s);
  if (!p.inside) return;
  float means[width], inverses[width], scales[width], plain[width], projected[width];
#pragma unroll
  for (int i = 0; i < width; ++i) {
    means[i] = mean[p.statistic + i];
    inverses[i] = inverse[p.statistic + i];
    scales[i] = weight[p.channel + i] * inverses[i];
    plain[i] = gradient_means[p.statistic + i];
    projected[i] = gradient_means[s.groups * s.channels + p.statistic + i];
  }
  for (std::int64_t row = p.row; row < p.end; row += p.step) {
    const std::int64_t at = p.base + row * s.channels;
    auto gradients = load<T, width>(g + at);
    auto values = load<T, width>(x + at);
    Pack<T, width> results{};
    if (relu) results = load<T, width>(y + at);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float before =
          batch_norm::before_relu(static_cast<float>(gradients.values[i]), static_cast<float>(results.values[i]), relu);
      gradients.values[i] = static_cast<T>(before);
      values.values[i] = static_cast<T>(batch_norm::input_gradient(
          before, static_cast<float>(values.values[i]), means[i], inverses[i], scales[i], plain[i], projected[i]));
    }
    store(of_x + at, values);
    if (of_residual != nullptr) store(of_residual + at, gradients);
  }
}

Shape shape_of(const at::Tensor& x, std::int64_t groups, int width) {
  Shape s;
  s.groups = groups;
  s.rows = x.size(0) / groups * x.size(2) * x.size(3);
  s.channels = x.size(1);
  s.width = width;
  s.lanes = most_lanes;
  while (s.lanes > 1 && (s.lanes / 2) * width >= s.channels) s.lanes /= 2;
  const std::int64_t wanted = std::max<std::int64_t>(1, most_blocks / (s.groups * s.tiles()));
  s.chunk_rows = std::max((s.rows + wanted - 1) / wanted, least_rows_per_thread * s.lines());
  s.chunks = (s.rows + s.chunk_rows - 1) / s.chunk_rows;
  return s;
}

at::Tensor dense(const at::Tensor& t, at::ScalarType type) {
  return t.to(type).contiguous(at::MemoryFormat::ChannelsLast);
}

bool aligned(const at::Tensor& t) {
  return !t.defined() || reinterpret_cast<std::uintptr_t>(t.const_data_ptr()) % 16 == 0;
}

// Calls work(T(), width) with the type of `x` and as many channels a thread as 16 bytes hold, or one.
template <class Work>
void dispatch(const at::Tensor& x, bool whole_packs, Work&& work) {
  const auto with = [&]<class T>(T) {
    constexpr int most = static_cast<int>(16 / sizeof(T));
    if (whole_packs && x.size(1) % most == 0)
      work(T(), std::integral_constant<int, most>());
    else
      work(T(), std::integral_constant<int, 1>());
  };
  if (x.scalar_type() == at::kBFloat16)
    with(c10::BFloat16());
  else
    with(float());
}

void require(const at::Tensor& x, const at::Tensor& weight, std::int64_t groups) {
  TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16,
              "batch_norm_act on CUDA takes float32 and bfloat16, not ", x.scalar_type());
  TORCH_CHECK(weight.scalar_type() == at::kFloat, "batch_norm_act on CUDA takes float32 parameters");
  TORCH_CHECK(x.dim() == 4 && x.size(0) % groups == 0 && x.numel() > 0);
}

unsigned blocks_for(std::int64_t items) {
  return static_cast<unsigned>((items + threads - 1) / threads);
}

template <class T>
const T* read(const at::Tensor& t) {
  return t.defined() ? t.const_data_ptr<T>() : nullptr;
}

Four forward_cuda(const at::Tensor& given, const at::Tensor& weight, const at::Tensor& bias,
                  const OptionalTensor& given_residual, std::int64_t groups, bool relu) {
  require(given, weight, groups);
  const c10::cuda::OptionalCUDAGuard guard(given.device());
  const auto stream = at::cuda::getCurrentCUDAStream();
  const at::Tensor x = dense(given, given.scalar_type());
  const at::Tensor residual = given_residual ? dense(*given_residual, x.scalar_type()) : at::Tensor();
  const at::Tensor y = at::empty_like(x);
  const at::Tensor mean = at::empty({groups, x.size(1)}, weight.options()), variance = at::empty_like(mean),
                   inverse = at::empty_like(mean);
  const float *w = weight.const_data_ptr<float>(), *b = bias.const_data_ptr<float>();
  dispatch(x, aligned(x) && aligned(residual), [&]<class T, class Width>(T, Width) {
    constexpr int width = Width::value;
    const Shape s = shape_of(x, groups, width);
    const at::Tensor partial = at::empty({3, groups, s.chunks, s.channels}, weight.options().dtype(at::kDouble));
    measure<T, width><<<s.grid(), s.block(), 0, stream>>>(read<T>(x), s, partial.mutable_data_ptr<double>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    conclude_statistics<<<blocks_for(groups * s.channels), threads, 0, stream>>>(
        partial.const_data_ptr<double>(), s, batch_norm_epsilon, mean.mutable_data_ptr<float>(),
        variance.mutable_data_ptr<float>(), inverse.mutable_data_ptr<float>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    apply<T, width><<<s.grid(), s.block(), 0, stream>>>(read<T>(x), read<T>(residual), w, b, read<float>(mean),
                                                        read<float>(inverse), s, relu, y.mutable_data_ptr<T>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  return {y, mean, variance, inverse};
}

Four backward_cuda(const at::Tensor& given_g, const at::Tensor& given_x, const at::Tensor& given_y,
                   const at::Tensor& weight, const at::Tensor& mean, const at::Tensor& inverse, bool relu,
                   bool with_residual) {
  const std::int64_t groups = mean.size(0);
  require(given_x, weight, groups);
  const c10::cuda::OptionalCUDAGuard guard(given_x.device());
  const auto stream = at::cuda::getCurrentCUDAStream();
  const auto type = given_x.scalar_type();
  const at::Tensor g = dense(given_g, type), x = dense(given_x, type), y = relu ? dense(given_y, type) : at::Tensor();
  const at::Tensor of_x = at::empty_like(x), of_weight = at::empty_like(weight), of_bias = at::empty_like(weight);
  const at::Tensor of_residual = with_residual && relu ? at::empty_like(x) : at::Tensor();
  const at::Tensor means = at::empty({2, groups, x.size(1)}, weight.options());
  const float* w = weight.const_data_ptr<float>();
  dispatch(x, aligned(g) && aligned(x) && aligned(y), [&]<class T, class Width>(T, Width) {
    constexpr int width = Width::value;
    const Shape s = shape_of(x, groups, width);
    const at::Tensor partial = at::empty({2, groups, s.chunks, s.channels}, weight.options().dtype(at::kDouble));
    sum_gradients<T, width><<<s.grid(), s.block(), 0, stream>>>(read<T>(g), read<T>(x), read<T>(y), read<float>(mean),
                                                                read<float>(inverse), s, relu,
                                                                partial.mutable_data_ptr<double>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    conclude_gradients<<<blocks_for(s.channels), threads, 0, stream>>>(
        partial.const_data_ptr<double>(), s, means.mutable_data_ptr<float>(), of_weight.mutable_data_ptr<float>(),
        of_bias.mutable_data_ptr<float>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    apply_gradients<T, width><<<s.grid(), s.block(), 0, stream>>>(
        read<T>(g), read<T>(x), read<T>(y), w, read<float>(mean), read<float>(inverse), read<float>(means), s, relu,
        of_x.mutable_data_ptr<T>(), of_residual.defined() ? of_residual.mutable_data_ptr<T>() : nullptr);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  // Without a ReLU in between the residual's gradient is the one that came.
  return {of_x, of_weight, of_bias, with_residual && !relu ? g : of_residual};
}

TORCH_LIBRARY_IMPL(spankey, CUDA, library) {
  library.impl("batch_norm_act", forward_cuda);
  library.impl("batch_norm_act_backward", backward_cuda);
}

}  // namespace
}  // namespace spankey
