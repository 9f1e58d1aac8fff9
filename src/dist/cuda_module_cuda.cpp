#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

#include <cstring>

#include "base/error.h"
#include "dist/cuda_module.h"
#include "dist/device_graph_cuda.h"
#include "dist/nccl_communicator_cuda.h"
#include "revision.h"

namespace spankey {
namespace {

class Module final : public CudaModule {
 public:
  // Neither driver nor device is no error here: the caller has a sentence for it.
  std::vector<CudaDevice> devices() const override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      return {};
    }
    std::vector<CudaDevice> result;
    for (int index = 0; index < count; ++index) {
      cudaDeviceProp properties{};
      C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
      result.push_back({.name = static_cast<const char*>(properties.name),
                        .memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem),
                        .major = properties.major,
                        .minor = properties.minor});
      static_assert(sizeof properties.uuid == sizeof result.back().uuid);
      std::memcpy(result.back().uuid.data(), &properties.uuid, sizeof properties.uuid);
    }
    return result;
  }

  void use_device(int index) override {
    const auto device = static_cast<c10::DeviceIndex>(index);
    c10::cuda::set_device(device);
    c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device));
  }

  std::unique_ptr<Communicator> make_nccl(std::unique_ptr<Communicator> host, int device,
                                          double timeout_seconds) override {
    return make_nccl_communicator(std::move(host), device, timeout_seconds);
  }

  std::unique_ptr<DeviceGraph> make_graph() override { return make_cuda_graph(); }

  void synchronize() override { c10::cuda::device_synchronize(); }

  std::string version() const override {
    int nccl = 0;
    if (ncclGetVersion(&nccl) != ncclSuccess) fail_run("ncclGetVersion failed");
    return fmt::format("CUDA {}.{}, NCCL {}.{}.{}", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, nccl / 10000,
                       nccl / 100 % 100, nccl % 100);
  }
};

}  // namespace
}  // namespace spankey

extern "C" __attribute__((visibility("default"))) const char* spankey_cuda_module_version() {
  return SPANKEY_VERSION " (git " SPANKEY_GIT_REVISION ")";
}

extern "C" __attribute__((visibility("default"))) spankey::CudaModule* spankey_cuda_module() {
  static spankey::Module module;
  return &module;
}
