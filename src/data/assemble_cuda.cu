// spankey::assemble for CUDA. A block handles one sample. Its first thread computes the sample's map, then every thread
// writes output pixels.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/BFloat16.h>
#include <torch/library.h>

#include <algorithm>

#include "data/assemble_op.h"

namespace spankey {
namespace {

constexpr int threads = 256;
constexpr std::int64_t most_blocks_per_sample = 64;

template <class T>
__global__ void __launch_bounds__(threads)
    fill(const std::uint8_t* images, const float* table, const std::int64_t* samples, const std::int64_t* position,
         AssemblyPlan plan, T* out) {
  __shared__ SampleMap map;
  const std::int64_t row = blockIdx.x, sample = samples[row];
  if (threadIdx.x == 0) map = sample_map(plan, position[0], sample);
  __syncthreads();
  const std::uint8_t* image = images + sample * plan.channels * plan.pixels();
  const std::int64_t step = static_cast<std::int64_t>(gridDim.y) * threads;
  for (std::int64_t pixel = blockIdx.y * threads + threadIdx.x; pixel < plan.pixels(); pixel += step)
    fill_pixel(plan, map, image, table, row, pixel, out);
}

at::Tensor assemble_cuda(const at::Tensor& images, const at::Tensor& table, const at::Tensor& samples,
                         const at::Tensor& position, std::int64_t seed, std::int64_t purpose, std::int64_t augment,
                         double rotation, bool channels_last, at::ScalarType type) {
  const c10::cuda::OptionalCUDAGuard guard(images.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const AssemblyPlan plan = assembly_plan(images.sizes(), seed, purpose, augment, rotation, channels_last);
  at::Tensor out = at::empty({samples.numel(), plan.channels, plan.height, plan.width}, images.options().dtype(type),
                             channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  if (out.numel() == 0) return out;
  const dim3 grid(static_cast<unsigned>(samples.numel()),
                  static_cast<unsigned>(std::min((plan.pixels() + threads - 1) / threads, most_blocks_per_sample)));
  const auto launch = [&]<class T>(T) {
    fill<T><<<grid, threads, 0, stream>>>(images.const_data_ptr<std::uint8_t>(), table.const_data_ptr<float>(),
                                          samples.const_data_ptr<std::int64_t>(),
                                          position.const_data_ptr<std::int64_t>(), plan, out.mutable_data_ptr<T>());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
  };
  if (type == at::kBFloat16)
    launch(c10::BFloat16());
  else
    launch(float());
  return out;
}

TORCH_LIBRARY_IMPL(spankey, CUDA, library) {
  library.impl("assemble", assemble_cuda);
}

}  // namespace
}  // namespace spankey
