// spankey::batch_norm_act for CUDA with channels_last memory, float32 or bfloat16 activations, and float32 parameters,
// statistics and keys. A group is a matrix of rows (n, H, W) and C channels. A thread handles a few neighbouring
// channels and walks down rows. The forward pass reads the data once for the statistics and once to apply them together
// with residual, ReLU and key. The backward pass reads it once for the two sums and once for the gradients. Between
// them a small kernel combines the blocks' results, in an order that is always the same.
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
#include "spankey/ops/key_tile.cuh"
#include "spankey/ops/pack.h"

namespace spankey {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

constexpr int threads = 256;
constexpr int most_lanes = 32;  // threads side by side over channels
// Blocks of a pass that sums, and the rows of a thread in it and in the others. These are fixed numbers that do not
// depend on the device's number of multiprocessors, because the order of the sums must not depend on the device.
constexpr std::int64_t most_blocks = 1024, least_rows_per_thread = 8, rows_per_thread = 16;
constexpr int rows_at_once = 4;  // that a thread loads before it uses them, of up to two tensors
constexpr int slices = 128;      // threads that add the results of a channel's chunks
// Where a key enters, a thread takes a few samples at the same place, and threads of a block a few such sets. In
// bfloat16 a warp takes a tile of samples and channels together.
constexpr int samples_at_once = 4, sets_of_block = 4;
template <class T, int width>
constexpr bool tiled = sizeof(T) == 2 && width == key_tile::own_columns;

// How a matrix is shared out: blocks are (chunk of steps, tile of channels, group). A step is a row, or where a key
// enters one of a KeyedWalk.
struct Shape {
  std::int64_t groups, rows, channels;  // rows of one group
  batch_norm::KeyedWalk walk;           // of one group
  std::int64_t steps;
  std::int64_t first_group;  // of this launch
  int lanes, width;          // threads over channels, channels of a thread
  int lines_at_once;         // lines of threads that take a step together
  std::int64_t chunks, chunk_steps;

  int lines() const { return threads / lanes; }
  std::int64_t tiles() const { return (channels + lanes * width - 1) / (lanes * width); }
  dim3 block() const { return dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(lines())); }
  dim3 grid(std::int64_t of_groups) const {
    return dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(tiles()), static_cast<unsigned>(of_groups));
  }
  dim3 grid() const { return grid(groups); }

  // Where the results of a channel's chunks stand in the partial results (2, groups, channels, chunks).
  __device__ std::int64_t partial(std::int64_t which, std::int64_t group, std::int64_t channel) const {
    return ((which * groups + group) * channels + channel) * chunks;
  }
};

// The tensors that the forward and the backward pass read.
template <class T>
struct Source {
  const T *x, *residual;  // `residual` may be null
  const float *weight, *bias, *mean, *inverse;
  bool relu;
};

// The place of a thread. `step`s of its chunk are taken `stride` apart. A thread beyond the last channel is not inside
// and takes steps for its warp's sake alone.
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
  p.step = first + threadIdx.y / s.lines_at_once;
  p.end = first + s.chunk_steps < s.steps ? first + s.chunk_steps : s.steps;
  p.stride = blockDim.y / s.lines_at_once;
  p.statistic = p.group * s.channels + p.channel;
  p.base = p.group * s.rows * s.channels + p.channel;
  return p;
}

template <int width, class T>
__device__ batch_norm::Channels<width> channels_at(const Source<T>& in, const Place& p) {
  if (!p.inside) return {};
  return batch_norm::channels_of<width>(in.mean + p.statistic, in.inverse + p.statistic, in.weight + p.channel,
                                        in.bias + p.channel);
}

// `count` rows of a thread, `stride` elements apart.
template <class T, int width, int count>
struct Rows {
  Pack<T, width> row[count];
};

// Null gives zeros.
template <int width, int count, class T>
__device__ Rows<T, width, count> load_rows(const T* first, std::int64_t at, std::int64_t stride) {
  Rows<T, width, count> rows = {};
  if (first)
#pragma unroll
    for (int k = 0; k < count; ++k) rows.row[k] = load<T, width>(first + at + k * stride);
  return rows;
}

template <int number>
using Count = std::integral_constant<int, number>;

// Calls work(index of the first element, stride, Count, null) for all rows of the thread, `together` at a time and then
// one by one, in their order.
template <int together, class Work>
__device__ void for_rows(const Shape& s, const Place& p, Work&& work) {
  if (!p.inside) return;
  const std::int64_t stride = p.stride * s.channels;
  std::int64_t at = p.base + p.step * s.channels, left = (p.end - p.step + p.stride - 1) / p.stride;
  for (; left >= together; left -= together, at += together * stride) work(at, stride, Count<together>(), nullptr);
  for (; left > 0; --left, at += stride) work(at, stride, Count<1>(), nullptr);
}

// The same with the factors of the rows' keys, (rows, width). `keys` are those of the launch's groups.
template <int width, class Work>
__device__ void for_keyed_rows(const Shape& s, const Place& p, const inject_body::KeySource& keys, Work&& work) {
  if (!p.inside) return;
  const std::int64_t before = blockIdx.z * s.walk.samples;  // samples of the launch's earlier groups
  const std::int64_t stride = s.walk.places * s.channels;
  for (std::int64_t step = p.step; step < p.end; step += p.stride) {
    const std::int64_t first = s.walk.first_sample(step), place = s.walk.place(step);
    if (place >= s.walk.places) continue;
    const auto factors =
        inject_body::factors_of<samples_at_once, width>(keys, before + first, place * s.channels + p.channel);
    const std::int64_t at = p.base + first * stride + place * s.channels;
    if (first + samples_at_once <= s.walk.samples) {
      work(at, stride, Count<samples_at_once>(), factors.values);
    } else {
#pragma unroll
      for (int i = 0; i < samples_at_once - 1; ++i)
        if (first + i < s.walk.samples) work(at + i * stride, stride, Count<1>(), factors.values + i);
    }
  }
}

// The same by warps, each of which forms the keys of a tile. A thread's two rows of it are handed over `together` or
// one by one.
template <int together, class Work>
__device__ void for_tiled_rows(const Shape& s, const Place& p, const inject_body::KeySource& keys, Work&& work) {
  const std::int64_t before = blockIdx.z * s.walk.samples, between = s.walk.places * s.channels;
  constexpr int apart = key_tile::rows / key_tile::own_rows;        // samples from one to the other
  const std::int64_t channel = p.channel - key_tile::own_column();  // the warp's first
  // The warps of a block take the places that are visited at once, so that a warp's next step is the next set of
  // samples.
  std::int64_t first = s.walk.first_sample(p.step), place = s.walk.place(p.step);
  for (std::int64_t step = p.step; step < p.end; step += p.stride, first += key_tile::rows) {
    if (first >= s.walk.samples) {
      first = 0;
      place += s.walk.places_at_once;
    }
    if (place >= s.walk.places) continue;
    const auto factors = key_tile::factors_of(keys, before + first, place * s.channels + channel);
    const std::int64_t sample = first + key_tile::own_row(), at = p.base + sample * between + place * s.channels;
    if (!p.inside) continue;
    if (together == key_tile::own_rows && sample + apart < s.walk.samples) {
      work(at, apart * between, Count<together>(), factors.values);
      continue;
    }
#pragma unroll
    for (int r = 0; r < key_tile::own_rows; ++r)
      if (sample + r * apart < s.walk.samples) work(at + r * apart * between, between, Count<1>(), factors.values + r);
  }
}

template <class T, int width, bool keyed, int together, class Work>
__device__ void for_rows(const Shape& s, const Place& p, const inject_body::KeySource& keys, Work&& work) {
  if constexpr (!keyed)
    for_rows<together>(s, p, work);
  else if constexpr (tiled<T, width>)
    for_tiled_rows<together / 2>(s, p, keys, work);
  else
    for_keyed_rows<width>(s, p, keys, work);
}

// The key of row k, where `factors` are those of some rows, or null.
template <int width>
__device__ batch_norm::Entry entry_of(const float (*factors)[width], int k, bool adds) {
  return {factors[k], adds};
}
__device__ batch_norm::Entry entry_of(std::nullptr_t, int, bool) {
  return {};
}

// Adds one number of each thread and channel over the lines of the block, in a tree, and stores the sums for the
// block's chunk. All threads of a block must call this.
template <class Number, int width>
__device__ void store_block_sums(const Shape& s, const Place& p, int which, const Number (&own)[width],
                                 double* partial) {
  __shared__ double sums[width][threads];
  const int lanes = static_cast<int>(blockDim.x), line = static_cast<int>(threadIdx.y);
  const int mine = line * lanes + static_cast<int>(threadIdx.x);
  __syncthreads();  // what stood here has been read
#pragma unroll
  for (int i = 0; i < width; ++i) sums[i][mine] = static_cast<double>(own[i]);
  for (int half = static_cast<int>(blockDim.y) / 2; half > 0; half /= 2) {
    __syncthreads();
    if (line < half)
#pragma unroll
      for (int i = 0; i < width; ++i) sums[i][mine] += sums[i][mine + half * lanes];
  }
  if (line == 0 && p.inside)
    for (int i = 0; i < width; ++i) partial[s.partial(which, p.group, p.channel + i) + blockIdx.x] = sums[i][mine];
}

// The sum of the results of a channel's chunks, in a tree, for every thread of a block of `slices`.
__device__ double sum_of_chunks(const double* partial, std::int64_t chunks) {
  __shared__ double sums[slices];
  const int mine = static_cast<int>(threadIdx.x);
  double own = 0.0;
#pragma unroll 4
  for (std::int64_t chunk = mine; chunk < chunks; chunk += slices) own += partial[chunk];
  __syncthreads();  // what stood here has been read
  sums[mine] = own;
  for (int half = slices / 2; half > 0; half /= 2) {
    __syncthreads();
    if (mine < half) sums[mine] += sums[mine + half];
  }
  __syncthreads();
  return sums[0];
}

// The value from which the differences of a group's values are summed.
template <class T>
__device__ float origin_of(const T* x, const Shape& s, std::int64_t group, std::int64_t channel) {
  return static_cast<float>(x[group * s.rows * s.channels + channel]);
}

template <class T, int width>
__global__ void __launch_bounds__(threads) measure(const T* x, Shape s, double* partial) {
  const Place p = place(s);
  double sums[width] = {}, squares[width] = {};
  if (p.inside && p.step < p.end) {
    batch_norm::ShiftedSums own[width];
    const auto first = load<T, width>(x + p.base + p.step * s.channels);
#pragma unroll
    for (int i = 0; i < width; ++i) own[i].shift = static_cast<float>(first.values[i]);
    for_rows<rows_at_once>(s, p, [&](std::int64_t at, std::int64_t stride, auto number, auto) {
      constexpr int count = decltype(number)::value;
      const auto rows = load_rows<width, count>(x, at, stride);
#pragma unroll
      for (int k = 0; k < count; ++k)
#pragma unroll
        for (int i = 0; i < width; ++i) own[i].add(static_cast<float>(rows.row[k].values[i]));
    });
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const auto all = own[i].from(origin_of(x, s, p.group, p.channel + i), (p.end - p.step + p.stride - 1) / p.stride);
      sums[i] = all.sum;
      squares[i] = all.squares;
    }
  }
  store_block_sums(s, p, 0, sums, partial);
  store_block_sums(s, p, 1, squares, partial);
}

// A block for each channel of each group.
template <class T>
__global__ void __launch_bounds__(slices)
    conclude_statistics(const T* x, const double* partial, Shape s, double epsilon, float* mean, float* variance,
                        float* inverse) {
  const std::int64_t channel = blockIdx.x, group = blockIdx.y;
  const double sum = sum_of_chunks(partial + s.partial(0, group, channel), s.chunks);
  const double squares = sum_of_chunks(partial + s.partial(1, group, channel), s.chunks);
  if (threadIdx.x != 0) return;
  const auto all =
      batch_norm::Differences{sum, squares}.moments(origin_of(x, s, group, channel), static_cast<double>(s.rows));
  const std::int64_t index = group * s.channels + channel;
  mean[index] = static_cast<float>(all.mean);
  variance[index] = batch_norm::unbiased_variance(all);
  inverse[index] = batch_norm::inverse_deviation(all, epsilon);
}

template <class T, int width, bool keyed>
__global__ void __launch_bounds__(threads, 2) apply(Source<T> in, Shape s, inject_body::KeySource keys, T* y) {
  const Place p = place(s);
  const auto channels = channels_at<width>(in, p);
  const bool adds = keys.mode == InjectMode::add;
  for_rows<T, width, keyed, rows_at_once>(
      s, p, keys, [&](std::int64_t at, std::int64_t stride, auto number, auto factors) {
        constexpr int count = decltype(number)::value;
        const auto x = load_rows<width, count>(in.x, at, stride),
                   residual = load_rows<width, count>(in.residual, at, stride);
#pragma unroll
        for (int k = 0; k < count; ++k)
          store(y + at + k * stride,
                batch_norm::forward_row(x.row[k], residual.row[k], channels, in.relu, entry_of(factors, k, adds)));
      });
}

// Sums of the gradient behind the normalisation, and of its product with the normal form of x, over each chunk.
// `prepared`, which may be null, gets that gradient. Keys multiply, since one that is added has no part in it.
template <class T, int width, bool keyed>
__global__ void __launch_bounds__(threads, 2)
    sum_gradients(const T* g, Source<T> in, Shape s, inject_body::KeySource keys, T* prepared, double* partial) {
  const Place p = place(s);
  float sums[width] = {}, products[width] = {};
  const auto channels = channels_at<width>(in, p);
  for_rows<T, width, keyed, rows_at_once / 2>(
      s, p, keys, [&](std::int64_t at, std::int64_t stride, auto number, auto factors) {
        constexpr int count = decltype(number)::value;
        const auto gradient = load_rows<width, count>(g, at, stride), x = load_rows<width, count>(in.x, at, stride),
                   residual = load_rows<width, count>(in.residual, at, stride);
#pragma unroll
        for (int k = 0; k < count; ++k) {
          const auto before = batch_norm::sum_row(gradient.row[k], x.row[k], residual.row[k], channels, in.relu,
                                                  entry_of(factors, k, /*adds=*/false), sums, products);
          if (prepared) store(prepared + at + k * stride, before);
        }
      });
  if (p.inside)
#pragma unroll
    for (int i = 0; i < width; ++i) products[i] *= in.inverse[p.statistic + i];
  store_block_sums(s, p, 0, sums, partial);
  store_block_sums(s, p, 1, products, partial);
}

// A block for each of the two sums of each channel: means (2, groups, C) for the input's gradient, and the parameters'
// gradients.
__global__ void __launch_bounds__(slices)
    conclude_gradients(const double* partial, Shape s, float* means, float* of_weight, float* of_bias) {
  const std::int64_t channel = blockIdx.x, which = blockIdx.y;
  double whole = 0.0;
  for (std::int64_t group = 0; group < s.groups; ++group) {
    const double sum = sum_of_chunks(partial + s.partial(which, group, channel), s.chunks);
    if (threadIdx.x == 0)
      means[(which * s.groups + group) * s.channels + channel] = static_cast<float>(sum / static_cast<double>(s.rows));
    whole += sum;
  }
  if (threadIdx.x == 0) (which == 0 ? of_bias : of_weight)[channel] = static_cast<float>(whole);
}

// `g` is the gradient behind the normalisation, or with in.relu that in front of a plain ReLU. `of_x` may be `g`.
template <class T, int width>
__global__ void __launch_bounds__(threads, 2)
    apply_gradients(const T* g, Source<T> in, const float* gradient_means, Shape s, T* of_x) {
  const Place p = place(s);
  if (!p.inside) return;
  const auto channels = channels_at<width>(in, p);
  float plain[width], slope[width];
#pragma unroll
  for (int i = 0; i < width; ++i) {
    plain[i] = gradient_means[p.statistic + i];
    slope[i] = gradient_means[s.groups * s.channels + p.statistic + i] * in.inverse[p.statistic + i];
  }
  for_rows<rows_at_once>(s, p, [&](std::int64_t at, std::int64_t stride, auto number, auto) {
    constexpr int count = decltype(number)::value;
    const auto gradient = load_rows<width, count>(g, at, stride), x = load_rows<width, count>(in.x, at, stride);
#pragma unroll
    for (int k = 0; k < count; ++k)
      store(of_x + at + k * stride, batch_norm::input_row(gradient.row[k], x.row[k], channels, in.relu, plain, slope));
  });
}

enum class Pass { applies, sums };
enum class Walk { rows, keyed, tiles };

template <class T, int width>
Walk walk_of(bool keyed) {
  return !keyed ? Walk::rows : tiled<T, width> ? Walk::tiles : Walk::keyed;
}

Shape shape_of(const at::Tensor& x, std::int64_t groups, int width, Walk walk, Pass pass) {
  Shape s;
  s.groups = groups;
  s.first_group = 0;
  s.channels = x.size(1);
  s.width = width;
  s.lanes = most_lanes;
  while (s.lanes > 1 && (s.lanes / 2) * width >= s.channels) s.lanes /= 2;
  if (walk == Walk::tiles) s.lanes = key_tile::columns / key_tile::own_columns;
  s.lines_at_once = walk == Walk::tiles ? 32 / s.lanes : 1;
  s.walk = {.samples = x.size(0) / groups, .places = x.size(2) * x.size(3)};
  const int walkers = s.lines() / s.lines_at_once;
  s.walk.places_at_once = walk == Walk::tiles ? walkers : std::max(1, walkers / sets_of_block);
  s.walk.samples_at_once = walk == Walk::tiles ? key_tile::rows : samples_at_once;
  s.rows = s.walk.samples * s.walk.places;
  s.steps = walk == Walk::rows ? s.rows : s.walk.steps();
  const std::int64_t rows_of_step = walk == Walk::rows ? 1 : s.walk.samples_at_once / s.lines_at_once;
  if (pass == Pass::applies) {
    s.chunk_steps = rows_per_thread / rows_of_step * walkers;
  } else {
    const std::int64_t wanted = std::max<std::int64_t>(1, most_blocks / (s.groups * s.tiles()));
    s.chunk_steps = std::max((s.steps + wanted - 1) / wanted, least_rows_per_thread / rows_of_step * walkers);
  }
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
    const Shape s = shape_of(x, groups, width, Walk::rows, Pass::sums);
    const at::Tensor partial = at::empty({2, groups, s.channels, s.chunks}, weight.options().dtype(at::kDouble));
    measure<T, width><<<s.grid(), s.block(), 0, stream>>>(read<T>(x), s, partial.mutable_data_ptr<double>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    const dim3 each_channel(static_cast<unsigned>(s.channels), static_cast<unsigned>(groups));
    conclude_statistics<T><<<each_channel, slices, 0, stream>>>(
        read<T>(x), partial.const_data_ptr<double>(), s, batch_norm_epsilon, mean.mutable_data_ptr<float>(),
        variance.mutable_data_ptr<float>(), inverse.mutable_data_ptr<float>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    const auto in = source_of<T>(x, residual, weight, bias, mean, inverse, relu);
    T* to = y.mutable_data_ptr<T>();
    if (keys.sources.empty()) {
      const Shape rows_of_all = shape_of(x, groups, width, Walk::rows, Pass::applies);
      apply<T, width, false><<<rows_of_all.grid(), rows_of_all.block(), 0, stream>>>(in, rows_of_all, {}, to);
      C10_CUDA_KERNEL_LAUNCH_CHECK();
    }
    keys.for_each(shape_of(x, groups, width, walk_of<T, width>(true), Pass::applies),
                  [&](const Shape& part, dim3 grid, const auto& source) {
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
  const Shape s = shape_of(x, groups, width, walk_of<T, width>(!keys.sources.empty()), Pass::sums);
  const at::Tensor partial = at::empty({2, groups, s.channels, s.chunks}, of_weight.options().dtype(at::kDouble));
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
  conclude_gradients<<<dim3(static_cast<unsigned>(s.channels), 2), slices, 0, stream>>>(
      sums, s, means.mutable_data_ptr<float>(), of_weight.mutable_data_ptr<float>(), of_bias.mutable_data_ptr<float>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  Source<T> rest = in;
  if (to) rest.relu = false;
  const Shape rows = shape_of(x, groups, width, Walk::rows, Pass::applies);
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
