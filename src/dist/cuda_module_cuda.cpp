#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>
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

// LibTorch can be told to warn before each call that waits for the device. While this object exists, it counts such
// warnings of the calling thread instead of printing them. Warnings of autograd's threads reach it when their pass is
// over.
class WaitCounter final : public c10::WarningHandler {
 public:
  WaitCounter() : before_(c10::WarningUtils::get_warning_handler()) {
    c10::WarningUtils::set_warning_handler(this);
    c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_WARN);
  }
  ~WaitCounter() override {
    c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED);
    c10::WarningUtils::set_warning_handler(before_);
  }
  WaitCounter(const WaitCounter&) = delete;
  WaitCounter& operator=(const WaitCounter&) = delete;

  void process(const c10::Warning& warning) override {
    if (warning.msg().find("synchronizing CUDA operation") != std::string::npos)
      ++waits_;
    else
      before_->process(warning);
  }
  std::int64_t waits() const { return waits_; }

 private:
  c10::WarningHandler* before_;
  std::int64_t waits_ = 0;
};

class Module final : public CudaModule {
 public:
  std::vector<CudaDevice> devices() const override {
    int count = 0;
    if (const auto error = cudaGetDeviceCount(&count); error != cudaSuccess || count == 0) {
      static_cast<void>(cudaGetLastError());
      const auto code = error == cudaSuccess ? cudaErrorNoDevice : error;
      fail_run("no GPU is visible to this process: {}", cudaGetErrorString(code));
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

  std::string architectures() const override { return SPANKEY_CUDA_ARCHITECTURES; }

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

  std::int64_t host_waits(const std::function<void()>& work) override {
    const WaitCounter counter;
    work();
    return counter.waits();
  }

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
