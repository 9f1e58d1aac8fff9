// spankey::batch_norm_act for CUDA with channels_last memory, float32 or bfloat16 activations, and float32 parameters,
// statistics and keys.
#include "spankey/ops/batch_norm_cuda.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

#include "base/portable_math.h"
#include "spankey/ops/batch_norm_op.h"
#include "spankey/ops/inject_parts.h"

namespace spankey {
namespace {

using batch_norm::Shape;
using OptionalTensor = std::optional<at::Tensor>;
using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

constexpr int most_lanes = 32;  // threads side by side over channels
// Blocks of a pass that sums, and the rows of a thread in it and in the others. These are fixed numbers that do not
// depend on the device's number of multiprocessors, because the order of the sums must not depend on the device.
constexpr std::int64_t most_blocks = 1024, least_rows_per_thread = 8, rows_per_thread = 16;
constexpr int sets_of_block = 4;  // sets of samples at one place that threads of a block take

enum class Pass { applies, sums };
enum class Walk { rows, keyed, tiles };

template <class T, int width>
Walk walk_of(bool keyed) {
  return !keyed ? Walk::rows : batch_norm::Kernels<T, width>::tiled ? Walk::tiles : Walk::keyed;
}

Shape shape_of(const at::Tensor& x, std::int64_t groups, int width, Walk walk, Pass pass) {
  Shape s;
  s.groups = groups;
  s.first_group = 0;
  s.channels = x.size(1);
  s.width = width;
  s.lanes = most_lanes;
  while (s.lanes > 1 && (s.lanes / 2) * width >= s.channels) s.lanes /= 2;
  if (walk == Walk::tiles) s.lanes = batch_norm::tile_lanes;
  s.lines_at_once = walk == Walk::tiles ? 32 / s.lanes : 1;
  s.walk = {.samples = x.size(0) / groups, .places = x.size(2) * x.size(3)};
  const int walkers = batch_norm::threads / s.lanes / s.lines_at_once;
  s.walk.places_at_once = walk == Walk::tiles ? walkers : std::max(1, walkers / sets_of_block);
  s.walk.samples_at_once = walk == Walk::tiles ? batch_norm::tile_samples : batch_norm::samples_at_once;
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

  // Calls work(shape, keys) for the groups of each part, or work(shape, null) where there are no keys.
  template <class Work>
  void for_each(Shape s, Work&& work) const {
    if (sources.empty()) work(s, nullptr);
    for (const auto& source : sources) {
      const std::int64_t groups = source.rows / s.walk.samples;
      if (groups > 0) work(s, &source);
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
    with(BFloat16());
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
  return t.defined() ? static_cast<const T*>(t.const_data_ptr()) : nullptr;
}

template <class T>
T* written(const at::Tensor& t) {
  return t.defined() ? static_cast<T*>(t.mutable_data_ptr()) : nullptr;
}

template <class T>
batch_norm::Source<T> source_of(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight,
                                const at::Tensor& bias, const at::Tensor& mean, const at::Tensor& inverse, bool relu) {
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
    using Kernels = batch_norm::Kernels<T, width>;
    const Shape s = shape_of(x, groups, width, Walk::rows, Pass::sums);
    const at::Tensor partial = at::empty({2, groups, s.channels, s.chunks}, weight.options().dtype(at::kDouble));
    Kernels::launch_measure(read<T>(x), s, written<double>(partial), stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    Kernels::launch_conclude_statistics(read<T>(x), read<double>(partial), s, batch_norm_epsilon, written<float>(mean),
                                        written<float>(variance), written<float>(inverse), stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    const auto in = source_of<T>(x, residual, weight, bias, mean, inverse, relu);
    const bool keyed = !keys.sources.empty();
    const auto apply = [&](const Shape& part, const inject_body::KeySource* source) {
      Kernels::launch_apply(in, part, source, written<T>(y), stream);
      C10_CUDA_KERNEL_LAUNCH_CHECK();
    };
    keys.for_each(shape_of(x, groups, width, walk_of<T, width>(keyed), Pass::applies), apply);
  });
  return {y, mean, variance, inverse};
}

// Runs both passes of backward. `prepared`, if defined, holds the result of the first for the second.
template <class T, int width>
void backward_passes(const at::Tensor& g, const batch_norm::Source<T>& in, const Parts& keys, const at::Tensor& x,
                     std::int64_t groups, const at::Tensor& prepared, const at::Tensor& of_x,
                     const at::Tensor& of_weight, const at::Tensor& of_bias) {
  using Kernels = batch_norm::Kernels<T, width>;
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const at::Tensor means = at::empty({2, groups, x.size(1)}, of_weight.options());
  const Shape s = shape_of(x, groups, width, walk_of<T, width>(!keys.sources.empty()), Pass::sums);
  const at::Tensor partial = at::empty({2, groups, s.channels, s.chunks}, of_weight.options().dtype(at::kDouble));
  keys.for_each(s, [&](const Shape& part, const inject_body::KeySource* source) {
    Kernels::launch_sum_gradients(read<T>(g), in, part, source, written<T>(prepared), written<double>(partial), stream);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  });
  Kernels::launch_conclude_gradients(read<double>(partial), s, written<float>(means), written<float>(of_weight),
                                     written<float>(of_bias), stream);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  batch_norm::Source<T> rest = in;
  if (prepared.defined()) rest.relu = false;
  Kernels::launch_apply_gradients(read<T>(prepared.defined() ? prepared : g), rest, read<float>(means),
                                  shape_of(x, groups, width, Walk::rows, Pass::applies), written<T>(of_x), stream);
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
