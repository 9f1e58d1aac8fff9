// All that needs CUDA lies in one shared module, libspankey_cuda.so, which the program opens the first time a GPU is
// asked for: the program itself starts, and runs on the CPU, where there is neither driver nor CUDA library.
//
// The module is built where nvcc is found. It links none of our libraries and takes what it needs from the program that
// opens it, which therefore exports its symbols; both carry the same version text.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/device_graph.h"

namespace spankey {

struct CudaDevice {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  std::int64_t memory_bytes = 0;
  int major = 0, minor = 0;             // compute capability
  std::array<std::uint8_t, 16> uuid{};  // no other GPU in the world has it
};

class CudaModule {
 public:
  virtual ~CudaModule() = default;
  CudaModule(const CudaModule&) = delete;
  CudaModule& operator=(const CudaModule&) = delete;

  // Those that CUDA_VISIBLE_DEVICES leaves, in its order; at least one, as the module is not opened without.
  virtual std::vector<CudaDevice> devices() const = 0;
  // The calling thread works with this GPU from here on, on a stream that is not the default one (which cannot be
  // captured). Before the first tensor: autograd accumulates a gradient on the stream that was current when its
  // parameter got its accumulator.
  virtual void use_device(int index) = 0;
  // Collective over `host`, which it owns: device tensors travel over NCCL, CPU tensors over `host`. Where ATen's
  // deterministic algorithms are on, NCCL is held to one algorithm and protocol. Graphs with its collectives go before
  // it. After 60 timeouts, or when NCCL reports that a peer is lost, the process ends with exit code 3 on all ranks.
  virtual std::unique_ptr<Communicator> make_nccl(std::unique_ptr<Communicator> host, int device,
                                                  double timeout_seconds) = 0;
  // On the current device and stream, which is that of use_device().
  virtual std::unique_ptr<DeviceGraph> make_graph() = 0;
  // Waits for all work of the current device.
  virtual void synchronize() = 0;
  // Runs `work`; how often LibTorch made the host wait for the device meanwhile (a number read back, a copy that is not
  // asynchronous), on the calling thread and in the backward passes that it started. One caller at a time.
  virtual std::int64_t host_waits(const std::function<void()>& work) = 0;
  virtual std::string version() const = 0;  // "CUDA 13.0, NCCL 2.28.9"

 protected:
  CudaModule() = default;
};

// Opens the module beside the program or in ../lib; libtorch_cuda.so before it. Done once and kept for the life of the
// process. nullptr where it cannot be opened or no GPU is there: `why_not` is one sentence without a full stop.
CudaModule* open_cuda_module(std::string& why_not);

// Which of the `devices` > 0 GPUs that it sees a rank takes: the first for the first rank on its node, and so
// on; ranks beyond the last begin again with the first.
int choose_device(int node_rank, int devices);

namespace detail {
// What the module exports in C linkage, under these names.
constexpr const char* cuda_module_version_symbol = "spankey_cuda_module_version";
constexpr const char* cuda_module_symbol = "spankey_cuda_module";
using CudaModuleVersion = const char* (*)();
using CudaModuleGet = CudaModule* (*)();
}  // namespace detail

}  // namespace spankey
