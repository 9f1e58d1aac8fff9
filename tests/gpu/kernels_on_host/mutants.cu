#include "cuda_on_host.h"
#include "mutants.h"

namespace spankey::mutants {
namespace {

__global__ void sums_of(const float* values, float* sums, Fault fault) {
  __shared__ float of_warps[threads / 32];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  if (fault == Fault::early_end && thread == threads - 1) return;
  float value = values[blockIdx.x * threads + threadIdx.x];
  if (fault != Fault::lane_missing || lane != 7) {
    for (unsigned by = 16; by > 0; by /= 2) {
      const unsigned named = fault == Fault::unnamed_lane ? 0x0000FFFFU << (lane / 16 * 16) : ~0U;
      value += __shfl_down_sync(named, value, by);
    }
  }
  if (lane == 0) of_warps[thread / 32] = value;
  if (fault == Fault::write_behind && thread == 0) of_warps[threads / 32 + static_cast<int>(blockIdx.x)] = value;
  if (fault == Fault::barrier_in_a_branch) {
    if (thread < 64) __syncthreads();
  } else if (fault == Fault::barrier_elsewhere && thread < 32) {
    __syncthreads();
  } else if (fault != Fault::no_barrier) {
    __syncthreads();
  }
  if (thread == 0) sums[blockIdx.x] = of_warps[0] + of_warps[1] + of_warps[2];
}

__global__ void use_shared(float* out) {
  __shared__ double most[6144], more;
  most[threadIdx.x] = 0.0;
  more = 0.0;
  *out = static_cast<float>(most[0] + more);
}

__global__ void do_nothing() {}

}  // namespace

std::vector<float> sums_of_blocks(const std::vector<float>& values, Fault fault) {
  const auto blocks = static_cast<unsigned>(values.size() / threads);
  std::vector<float> sums(blocks);
  sums_of<<<blocks, threads>>>(values.data(), sums.data(), fault);
  if (fault == Fault::too_much_shared) use_shared<<<1, 1>>>(sums.data());
  if (fault == Fault::grid_too_high) do_nothing<<<dim3(1, 65536), 1>>>();
  if (fault == Fault::no_block) do_nothing<<<dim3(1, 0), 1>>>();
  if (fault == Fault::block_too_large) do_nothing<<<1, dim3(32, 33)>>>();
  if (fault == Fault::block_too_deep) do_nothing<<<1, dim3(1, 1, 65)>>>();
  return sums;
}

}  // namespace spankey::mutants
