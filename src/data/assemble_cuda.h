// The kernel of spankey::assemble for CUDA. Plain pointers keep LibTorch's headers out of what nvcc reads.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "data/assemble_body.h"

namespace spankey {

// What a batch is made of, on the device. The shapes are those of assemble() (assemble_op.h).
struct AssemblySource {
  const std::uint8_t* images;
  const float* table;
  const std::int64_t *samples, *position;
  std::int64_t count;  // of samples
};

// Fills `out` (count, C, H, W) on `stream`. T is float or BFloat16 (base/portable_math.h).
template <class T>
void launch_assembly(const AssemblySource& source, const AssemblyPlan& plan, T* out, cudaStream_t stream);

}  // namespace spankey
