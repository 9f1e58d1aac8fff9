// spankey::batch_norm_act for CUDA with channels_last memory, float32 or bfloat16 activations, and float32 parameters,
// statistics and keys. A group is a matrix of rows (n, H, W) and C channels. A thread handles a few neighbouring
// channels and walks down rows. The forward pass reads the data once for the statistics and once to apply them together
// with residual, ReLU and key. The backward pass reads it once for the two sums and once for the gradients. Between
// them a small kernel combines the blocks' results in order.
//
// The backward pass computes the value before the ReLU, and the key, again. Its first pass applies everything that
// follows the normalisation to the incoming gradient. It stores the result where the residual's gradient is wanted, or
// where a key multiplied. A ReLU alone is computed again in the second pass.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/BFloat16.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

#include "spankey/ops/batch_norm_body.h"
#include "spankey/ops/batch_norm_op.h"
#include "spankey/ops/inject_parts.h"
#include "spankey/ops/pack.h"

namespace spankey {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

constexpr int threads = 256;
constexpr int most_lanes = 32;  // threads side by side over channels
// It is a fixed number, not the device's number of multiprocessors, because the order of the sums must not depend on
// the device.
constexpr std::int64_t most_blocks = 1024, least_rows_per_thread = 8;
constexpr int sets_of_block = 4;  // sets of samples that threads of a block take at the same place when a key enters

// How a matrix is shared out: blocks are (chunk of steps, tile of channels, group). A step is a row, or where a key
// enters one of a KeyedWalk.
struct Shape {
  std::int64_t groups, rows, channels;  // rows of one group
  batch_norm::KeyedWalk walk;           // of one group
  std::int64_t steps;
  std::int64_t first_group;  // of this launch
  int lanes, width;          // threads over channels, channels of a thread
  std::int64_t chunks, chunk_steps;

  int lines() const { return threads / lanes; }
  std::int64_t tiles() const { return (channels + lanes * width - 1) / (lanes * width); }
  dim3 block() const { return dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(lines())); }
  dim3 grid(std::int64_t of_groups) const {
    return dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(tiles()), static_cast<unsigned>(of_groups));
  }
  dim3 grid() const { return grid(groups); }
};

// The tensors that the forward and the backward pass read.
template <class T>
struct Source {
  const T *x, *residual;  // `residual` may be null
  const float *weight, *bias, *mean, *inverse;
  bool relu;
};

// The place of a thread. `step`s of its chunk are taken `stride` apart.
struct Place {
  std::int64_t group, channel, step, end, stride, statistic, base;
  bool inside;
};

__device__ Place place(const Shape& s) {
  Place p;
  const int lanes = static_cast<int>(blockDim.x);
  p.group = s.first_group + blockIdx.z;
  p.channel = (static_cast<std::int64_t>(blockIdx.y) * lanes + threadIdx.x) * s.width;
  p.inside = p.channel < s.channels;
  const std::int64_t first = blockIdx.x * s.chunk_steps;
  p.step = first + threadIdx.y;
  p.end = first + s.chunk_steps < s.steps ? first + s.chunk_steps : s.steps;
  p.stride = blockDim.y;
  p.statistic = p.group * s.channels + p.channel;
  p.base = p.group * s.rows * s.channels + p.channel;
  return p;
}

template <int width, class T>
__device__ batch_norm::Channels<width> channels_at(const Source<T>& in, const Place& p) {
  return batch_norm::channels_of<width>(in.mean + p.statistic, in.inverse + p.statistic, in.weight + p.channel,
                                        in.bias + p.channel);
}

// Calls work(index of the row's first element, entry of its key) for each row of the thread, in its order. `keys` are
// those of the launch's groups.
template <bool keyed, int width, class Work>
__device__ void for_rows(const Shape& s, const Place& p, const inject_body::KeySource& keys, Work&& work) {
  if constexpr (!keyed) {
    for (std::int64_t row = p.step; row < p.end; row += p.stride) work(p.base + row * s.channels, batch_norm::Entry{});
  } else {
    constexpr int samples = batch_norm::samples_at_once;
    const std::int64_t before = blockIdx.z * s.walk.samples;  // samples of the launch's earlier groups
    for (std::int64_t step = p.step; step < p.end; step += p.stride) {
      const std::int64_t first = s.walk.first_sample(step), at = s.walk.place(step);
      if (at >= s.walk.places) continue;
      const auto factors = inject_body::factors_of<samples, width>(keys, before + first, at * s.channels + p.channel);
#pragma unroll
      for (int i = 0; i < samples; ++i) {
        if (first + i >= s.walk.samples) break;
        const std::int64_t row = (first + i) * s.walk.places + at;
        work(p.base + row * s.channels, batch_norm::Entry{factors.values[i], keys.mode == InjectMode::add});
      }
    }
  }
}

// The index in (groups, chunks, channels) of partial result number `chunk` of the channel at `p` plus `channel_offset`.
__device__ std::int64_t partial_index(const Shape& s, std::int64_t chunk, int channel_offset, const Place& p) {
  return (p.group * s.chunks + chunk) * s.channels + p.channel + channel_offset;
}

template <class T, int width>
__global__ void __launch_bounds__(threads) measure(const T* x, Shape s, double* partial) {
  __shared__ double means[threads], squares[threads], counts[threads];
  const Place p = place(s);
  batch_norm::ShiftedSums sums[width];
  std::int64_t count = 0;
  if (p.inside) {
    for_rows<false, width>(s, p, {}, [&](std::int64_t at, const batch_norm::Entry&) {
      const auto values = load<T, width>(x + at);
#pragma unroll
      for (int i = 0; i < width; ++i) sums[i].add(static_cast<float>(values.values[i]), count == 0);
      ++count;
    });
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

template <class T, int width, bool keyed>
__global__ void __launch_bounds__(threads) apply(Source<T> in, Shape s, inject_body::KeySource keys, T* y) {
  const Place p = place(s);
  if (!p.inside) return;
  const auto channels = channels_at<width>(in, p);
  for_rows<keyed, width>(s, p, keys, [&](std::int64_t at, const batch_norm::Entry& key) {
    const T* residual = in.residual ? in.residual + at : nullptr;
    batch_norm::forward_row<T, width>(in.x + at, residual, channels, in.relu, key, y + at);
  });
}

// Sums of the gradient behind the normalisation, and of its product with the normal form of x, over each chunk.
// `prepared`, which may be null, gets that gradient.
template <class T, int width, bool keyed>
__global__ void __launch_bounds__(threads, 2)
    sum_gradients(const T* g, Source<T> in, Shape s, inject_body::KeySource keys, T* prepared, double* partial) {
  __shared__ double plain[threads], projected[threads];
  const Place p = place(s);
  float sums[width] = {}, products[width] = {};
  if (p.inside) {
    const auto channels = channels_at<width>(in, p);
    for_rows<keyed, width>(s, p, keys, [&](std::int64_t at, const batch_norm::Entry& key) {
      const T* residual = in.residual ? in.residual + at : nullptr;
      T* to = prepared ? prepared + at : nullptr;
      batch_norm::sum_row<T, width>(g + at, in.x + at, residual, channels, in.relu, key, sums, products, to);
    });
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

// `g` is the gradient behind the normalisation, or with in.relu that in front of a plain ReLU. `of_x` may be `g`.
template <class T, int width>
__global__ void __launch_bounds__(threads)
    apply_gradients(const T* g, Source<T> in, const float* gradient_means, Shape s, T* of_x) {
  const Place p = place(s);
  if (!p.inside) return;
  const auto channels = channels_at<width>(in, p);
  float plain[width], projected[width];
#pragma unroll
  for (int i = 0; i < width; ++i) {
    plain[i] = gradient_means[p.statistic + i];
    projected[i] = gradient_means[s.groups * s.channels + p.statistic + i];
  }
  for_rows<false, width>(s, p, {}, [&](std::int64_t at, const batch_norm::Entry&) {
    batch_norm::input_row<T, width>(g + at, in.x + at, channels, in.relu, plain, projected, of_x + at);
  });
}

Shape shape_of(const at::Tensor& x, std::int64_t groups, int width, bool keyed) {
  Shape s;
  s.groups = groups;
  s.first_group = 0;
  s.channels = x.size(1);
  s.width = width;
  s.lanes = most_lanes;
  while (s.lanes > 1 && (s.lanes / 2) * width >= s.channels) s.lanes /= 2;
  s.walk = {.samples = x.size(0) / groups,
            .places = x.size(2) * x.size(3),
            .places_at_once = std::max(1, s.lines() / sets_of_block)};
  s.rows = s.walk.samples * s.walk.places;
  s.steps = keyed ? s.walk.steps() : s.rows;
  const std::int64_t wanted = std::max<std::int64_t>(1, most_blocks / (s.groups * s.tiles()));
  const std::int64_t least = keyed ? least_rows_per_thread / batch_norm::samples_at_once : least_rows_per_thread;
  s.chunk_steps = std::max((s.steps + wanted - 1) / wanted, least * s.lines());
  s.chunks = (s.steps + s.chunk_steps - 1) / s.chunk_steps;
  return s;
}

// The keys of a forward or backward pass, part by part.
struct Parts {
  std::vector<inject_body::KeySource> sources;

  Parts(const at::Tensor& x, std::int64_t groups, at::TensorList coefficients, at::TensorList bases,
        at::IntArrayRef rows, double gamma, InjectMode mode) {
    TORCH_CHECK(coefficients.size() == rows.size() && bases.size() == rows.size());
    std::int64_t all = 0;
    for (std::size_t p = 0; p < rows.size(); all += rows[p], ++p) {
      TORCH_CHECK(rows[p] % (x.size(0) / groups) == 0, "a part of the batch is not made of whole groups");
      sources.push_back(key_source(coefficients[p], bases[p], rows[p], x.numel() / x.size(0), gamma, mode, x.device()));
    }
    TORCH_CHECK(rows.empty() || all == x.size(0));
  }

  bool whole_packs(int width) const {
    return std::all_of(sources.begin(), sources.end(),
                       [&](const auto& s) { return !s.coefficients || reads_whole_packs(s, width); });
  }

  // Calls work(shape, grid, keys) for the groups of each part.
  template <class Work>
  void for_each(Shape s, Work&& work) const {
    for (const auto& source : sources) {
      const std::int64_t groups = source.rows / s.walk.samples;
      if (groups > 0) work(s, s.grid(groups), source);
      s.first_group += groups;
    }
  }
};

at::Tensor dense(const at::Tensor& t, at::ScalarType type) {
  return t.to(type).contiguous(at::MemoryFormat::ChannelsLast);
}

bool aligned(const at::Tensor& t) {
  return !t.defined() || reinterpret_cast<std::uintptr_t>(t.const_data_ptr()) % 16 == 0;
}

// Calls work(T(), width) with the type of `x` and as many channels a thread as 16 bytes hold, or one.
template <class Work>
void dispatch(const at::Tensor& x, const Parts& keys, bool aligned_tensors, Work&& work) {
  const auto with = [&]<class T>(T) {
    constexpr int most = static_cast<int>(16 / sizeof(T));
    if (aligned_tensors && x.size(1) % most == 0 && keys.whole_packs(most))
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

template <class T>
Source<T> source_of(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias,
                    const at::Tensor& mean, const at::Tensor& inverse, bool relu) {
  return {
      read<T>(x), read<T>(residual), read<float>(weight), read<float>(bias), read<float>(mean), read<float>(inverse),
      relu};
}

Four forward_cuda(const at::Tensor& given, const at::Tensor& weight, const at::Tensor& bias,
                  const OptionalTensor& given_residual, std::int64_t groups, bool relu, at::TensorList coefficients,
                  at::TensorList bases, at::IntArrayRef rows, double gamma, std::int64_t mode) {
  require(given, weight, groups);
  const c10::cuda::OptionalCUDAGuard guard(given.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const at::Tensor x = dense(given, given.scalar_type());
  const at::Tensor residual = given_residual ? dense(*given_residual, x.scalar_type()) : at::Tensor();
  const Parts keys(x, groups, coefficients, bases, rows, gamma, static_cast<InjectMode>(mode));
  const at::Tensor y = at::empty_like(x);
  const at::Tensor mean = at::empty({groups, x.size(1)}, weight.options()), variance = at::empty_like(mean),
                   inverse = at::empty_like(mean);
  dispatch(x, keys, aligned(x) && aligned(residual), [&]<class T, class Width>(T, Width) {
    constexpr int width = Width::value;
    const Shape s = shape_of(x, groups, width, false);
    const at::Tensor partial = at::empty({3, groups, s.chunks, s.channels}, weight.options().dtype(at::kDouble));
    measure<T, width><<<s.grid(), s.block(), 0, stream>>>(read<T>(x), s, partial.mutable_data_ptr<double>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    conclude_statistics<<<blocks_for(groups * s.channels), threads, 0, stream>>>(
        partial.const_data_ptr<double>(), s, batch_norm_epsilon, mean.mutable_data_ptr<float>(),
        variance.mutable_data_ptr<float>(), inverse.mutable_data_ptr<float>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    const auto in = source_of<T>(x, residual, weight, bias, mean, inverse, relu);
    T* to = y.mutable_data_ptr<T>();
    if (keys.sources.empty()) {
      apply<T, width, false><<<s.grid(), s.block(), 0, stream>>>(in, s, {}, to);
      C10_CUDA_KERNEL_LAUNCH_CHECK();
    }
    keys.for_each(shape_of(x, groups, width, true), [&](const Shape& part, dim3 grid, const auto& source) {
      apply<T, width, true><<<grid, part.block(), 0, stream>>>(in, part, source, to);
      C10_CUDA_KERNEL_LAUNCH_CHECK();
    });
  });
  return {y, mean, variance, inverse};
}

// Runs both passes of backward. `prepared`, if defined, holds the result of the first for the second.
template <class T, int width>
void backward_passes(const at::Tensor& g, const Source<T>& in, const Parts& keys, const at::Tensor& x,
                     std::int64_t groups, const at::Tensor& prepared, const at::Tensor& of_x,
                     const at::Tensor& of_weight, const at::Tensor& of_bias) {
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const at::Tensor means = at::empty({2, groups, x.size(1)}, of_weight.options());
  const Shape s = shape_of(x, groups, width, !keys.sources.empty());
  const at::Tensor partial = at::empty({2, groups, s.chunks, s.channels}, of_weight.options().dtype(at::kDouble));
  T* to = prepared.defined() ? prepared.mutable_data_ptr<T>() : nullptr;
  double* sums = partial.mutable_data_ptr<double>();
  if (keys.sources.empty()) {
    sum_gradients<T, width, false><<<s.grid(), s.block(), 0, stream>>>(read<T>(g), in, s, {}, to, sums);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  }
  keys.for_each(s, [&](const Shape& part, dim3 grid, const auto& source) {
    sum_gradients<T, width, true><<<grid, part.block(), 0, stream>>>(read<T>(g), in, part, source, to, sums);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  conclude_gradients<<<blocks_for(s.channels), threads, 0, stream>>>(
      sums, s, means.mutable_data_ptr<float>(), of_weight.mutable_data_ptr<float>(), of_bias.mutable_data_ptr<float>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  Source<T> rest = in;
  if (to) rest.relu = false;
  const Shape rows = shape_of(x, groups, width, false);
  apply_gradients<T, width><<<rows.grid(), rows.block(), 0, stream>>>(to ? to : read<T>(g), rest, read<float>(means),
                                                                      rows, of_x.mutable_data_ptr<T>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

// `seen`: the residual, where there was one and a ReLU.
Four backward_cuda(const at::Tensor& given_g, const at::Tensor& given_x, const OptionalTensor& seen,
                   const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& inverse,
                   bool relu, bool with_residual, at::TensorList coefficients, at::TensorList bases,
                   at::IntArrayRef rows, double gamma, std::int64_t mode) {
  const std::int64_t groups = mean.size(0);
  require(given_x, weight, groups);
  const c10::cuda::OptionalCUDAGuard guard(given_x.device());
  const auto type = given_x.scalar_type();
  const at::Tensor g = dense(given_g, type), x = dense(given_x, type);
  const at::Tensor residual = seen ? dense(*seen, type) : at::Tensor();
  TORCH_CHECK(residual.defined() == (relu && with_residual));
  const auto key_mode = static_cast<InjectMode>(mode);
  const bool multiplied = !rows.empty() && key_mode != InjectMode::add;
  const Parts keys = multiplied ? Parts(x, groups, coefficients, bases, rows, gamma, key_mode)
                                : Parts(x, groups, {}, {}, {}, gamma, key_mode);
  const at::Tensor of_x = at::empty_like(x), of_weight = at::empty_like(weight), of_bias = at::empty_like(weight);
  const bool stored = multiplied || (relu && with_residual);
  const at::Tensor prepared = !stored ? at::Tensor() : with_residual ? at::empty_like(x) : of_x;
  dispatch(x, keys, aligned(g) && aligned(x) && aligned(residual), [&]<class T, class Width>(T, Width) {
    const auto in = source_of<T>(x, residual, weight, bias, mean, inverse, relu);
    backward_passes<T, Width::value>(g, in, keys, x, groups, prepared, of_x, of_weight, of_bias);
  });
  // Without a ReLU or a multiplying key, the residual's gradient is the incoming one.
  return {of_x, of_weight, of_bias, !with_residual ? at::Tensor() : stored ? prepared : g};
}

TORCH_LIBRARY_IMPL(spankey, CUDA, library) {
  library.impl("batch_norm_act", forward_cuda);
  library.impl("batch_norm_act_backward", backward_cuda);
}

}  // namespace
}  // namespace spankey
