// The host's twin of LibTorch's header: a kernel has ended when its launch returns.
#pragma once

#include "cuda_on_host.h"

namespace c10::cuda {

inline cudaStream_t getCurrentCUDAStream() {
  return {};
}

}  // namespace c10::cuda
