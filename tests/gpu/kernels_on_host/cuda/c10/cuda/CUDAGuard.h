// The host's twin of LibTorch's header: there is one device.
#pragma once

namespace c10::cuda {

struct OptionalCUDAGuard {
  template <class Device>
  explicit OptionalCUDAGuard(const Device&) {}
};

}  // namespace c10::cuda
