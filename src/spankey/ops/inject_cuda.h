// The kernels of spankey::inject for CUDA. Plain pointers keep LibTorch's headers out of what nvcc reads.
#pragma once

#include <cuda_runtime_api.h>

#include "spankey/ops/inject_body.h"

namespace spankey {

// One pass of a batch: rows of the dense (rows, d) matrices h and out.
template <class T>
struct InjectedPart {
  const T* h;
  T* out;
  inject_body::KeySource keys;
};

// Injects one part on `stream`. T is float or BFloat16 (base/portable_math.h). The part must have a key.
template <class T>
void launch_injection(const InjectedPart<T>& part, cudaStream_t stream);

}  // namespace spankey
