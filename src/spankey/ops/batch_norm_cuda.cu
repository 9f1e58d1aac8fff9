// The kernels of spankey::batch_norm_act, with channels_last memory, float32 or bfloat16 activations, and float32
// parameters, statistics and keys. A group is a matrix of rows (n, H, W) and C channels. A thread handles a few
// neighbouring channels and walks down rows. The forward pass reads the data once for the statistics and once to apply
// them together with residual, ReLU and key. The backward pass reads it once for the two sums and once for the
// gradients. Between them a small kernel combines the blocks' results, in an order that is always the same.
//
// The backward pass computes the value before the ReLU, and the key, again. Its first pass applies everything that
// follows the normalisation to the incoming gradient. It stores the result where the residual's gradient is wanted, or
// where a key multiplied. A ReLU alone is computed again in the second pass.
#include <type_traits>

#include "spankey/ops/batch_norm_cuda.h"
#include "spankey/ops/key_tile.cuh"
#include "spankey/ops/pack.h"

namespace spankey::batch_norm {
namespace {

static_assert(tile_lanes == key_tile::columns / key_tile::own_columns && tile_samples == key_tile::rows);

constexpr int rows_at_once = 4;  // that a thread loads before it uses them, of up to two tensors
constexpr int slices = 128;      // threads that add the results of a channel's chunks

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
__device__ Channels<width> channels_at(const Source<T>& in, const Place& p) {
  if (!p.inside) return {};
  return channels_of<width>(in.mean + p.statistic, in.inverse + p.statistic, in.weight + p.channel,
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
  else if constexpr (Kernels<T, width>::tiled)
    for_tiled_rows<together / 2>(s, p, keys, work);
  else
    for_keyed_rows<width>(s, p, keys, work);
}

// The key of row k, where `factors` are those of some rows, or null.
template <int width>
__device__ Entry entry_of(const float (*factors)[width], int k, bool adds) {
  return {factors[k], adds};
}
__device__ Entry entry_of(std::nullptr_t, int, bool) {
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
    ShiftedSums own[width];
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
  const auto all = Differences{sum, squares}.moments(origin_of(x, s, group, channel), static_cast<double>(s.rows));
  const std::int64_t index = group * s.channels + channel;
  mean[index] = static_cast<float>(all.mean);
  variance[index] = unbiased_variance(all);
  inverse[index] = inverse_deviation(all, epsilon);
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
                forward_row(x.row[k], residual.row[k], channels, in.relu, entry_of(factors, k, adds)));
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
          const auto before = sum_row(gradient.row[k], x.row[k], residual.row[k], channels, in.relu,
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
      store(of_x + at + k * stride, input_row(gradient.row[k], x.row[k], channels, in.relu, plain, slope));
  });
}

dim3 block_of(const Shape& s) {
  return dim3(static_cast<unsigned>(s.lanes), static_cast<unsigned>(threads / s.lanes));
}

// The grid for the groups of a part, or for all.
dim3 grid_of(const Shape& s, const inject_body::KeySource* keys = nullptr) {
  return dim3(static_cast<unsigned>(s.chunks), static_cast<unsigned>(s.tiles()),
              static_cast<unsigned>(keys ? keys->rows / s.walk.samples : s.groups));
}

}  // namespace

template <class T, int width>
void Kernels<T, width>::launch_measure(const T* x, const Shape& shape, double* partial, cudaStream_t stream) {
  measure<T, width><<<grid_of(shape), block_of(shape), 0, stream>>>(x, shape, partial);
}

template <class T, int width>
void Kernels<T, width>::launch_conclude_statistics(const T* x, const double* partial, const Shape& shape,
                                                   double epsilon, float* mean, float* variance, float* inverse,
                                                   cudaStream_t stream) {
  const dim3 each_channel(static_cast<unsigned>(shape.channels), static_cast<unsigned>(shape.groups));
  conclude_statistics<T><<<each_channel, slices, 0, stream>>>(x, partial, shape, epsilon, mean, variance, inverse);
}

template <class T, int width>
void Kernels<T, width>::launch_apply(const Source<T>& in, const Shape& shape, const inject_body::KeySource* keys, T* y,
                                     cudaStream_t stream) {
  const dim3 grid = grid_of(shape, keys);
  if (keys)
    apply<T, width, true><<<grid, block_of(shape), 0, stream>>>(in, shape, *keys, y);
  else
    apply<T, width, false><<<grid, block_of(shape), 0, stream>>>(in, shape, {}, y);
}

template <class T, int width>
void Kernels<T, width>::launch_sum_gradients(const T* g, const Source<T>& in, const Shape& shape,
                                             const inject_body::KeySource* keys, T* prepared, double* partial,
                                             cudaStream_t stream) {
  const dim3 grid = grid_of(shape, keys);
  if (keys)
    sum_gradients<T, width, true><<<grid, block_of(shape), 0, stream>>>(g, in, shape, *keys, prepared, partial);
  else
    sum_gradients<T, width, false><<<grid, block_of(shape), 0, stream>>>(g, in, shape, {}, prepared, partial);
}

template <class T, int width>
void Kernels<T, width>::launch_conclude_gradients(const double* partial, const Shape& shape, float* means,
                                                  float* of_weight, float* of_bias, cudaStream_t stream) {
  const dim3 each_sum(static_cast<unsigned>(shape.channels), 2);
  conclude_gradients<<<each_sum, slices, 0, stream>>>(partial, shape, means, of_weight, of_bias);
}

template <class T, int width>
void Kernels<T, width>::launch_apply_gradients(const T* g, const Source<T>& in, const float* means, const Shape& shape,
                                               T* of_x, cudaStream_t stream) {
  apply_gradients<T, width><<<grid_of(shape), block_of(shape), 0, stream>>>(g, in, means, shape, of_x);
}

template struct Kernels<float, 4>;
template struct Kernels<float, 1>;
template struct Kernels<BFloat16, 8>;
template struct Kernels<BFloat16, 1>;

}  // namespace spankey::batch_norm
