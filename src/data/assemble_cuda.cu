// The kernel of spankey::assemble. A block handles one sample. Its first thread computes the sample's map, then every
// thread writes output pixels.
#include <algorithm>

#include "base/portable_math.h"
#include "data/assemble_cuda.h"

namespace spankey {
namespace {

constexpr int threads = 256;
constexpr std::int64_t most_blocks_per_sample = 64;

template <class T>
__global__ void __launch_bounds__(threads) fill(AssemblySource source, AssemblyPlan plan, T* out) {
  __shared__ SampleMap map;
  const std::int64_t row = blockIdx.x, sample = source.samples[row];
  if (threadIdx.x == 0) map = sample_map(plan, source.position[0], sample);
  __syncthreads();
  const std::uint8_t* image = source.images + sample * plan.channels * plan.pixels();
  const std::int64_t step = static_cast<std::int64_t>(gridDim.y) * threads;
  for (std::int64_t pixel = blockIdx.y * threads + threadIdx.x; pixel < plan.pixels(); pixel += step)
    fill_pixel(plan, map, image, source.table, row, pixel, out);
}

}  // namespace

template <class T>
void launch_assembly(const AssemblySource& source, const AssemblyPlan& plan, T* out, cudaStream_t stream) {
  const std::int64_t blocks = std::min((plan.pixels() + threads - 1) / threads, most_blocks_per_sample);
  const dim3 grid(static_cast<unsigned>(source.count), static_cast<unsigned>(blocks));
  fill<T><<<grid, threads, 0, stream>>>(source, plan, out);
}

template void launch_assembly(const AssemblySource&, const AssemblyPlan&, float*, cudaStream_t);
template void launch_assembly(const AssemblySource&, const AssemblyPlan&, BFloat16*, cudaStream_t);

}  // namespace spankey
