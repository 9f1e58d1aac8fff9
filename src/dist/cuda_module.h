// All code that needs CUDA is in one shared module, libspankey_cuda.so, which the program opens the first time a GPU is
// asked for. The program itself therefore also starts, and runs on the CPU, where there is neither driver nor CUDA
// library.
//
// The module is built where nvcc is found. It links none of our libraries and takes what it needs from the program that
// opens it, which therefore exports its symbols. Both carry the same version text.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dist/communicator.h"
#include "dist/device_graph.h"

namespace spankey {

struct CudaDevice {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  std::int64_t memory_bytes = 0;
  int major = 0, minor = 0;             // compute capability
  std::array<std::uint8_t, 16> uuid{};  // unique among all GPUs
};

class CudaModule {
 public:
  virtual ~CudaModule() = default;
  CudaModule(const CudaModule&) = delete;
  CudaModule& operator=(const CudaModule&) = delete;

  // The devices that CUDA_VISIBLE_DEVICES leaves, in its order. There is at least one, since the module is not opened
  // without a device. Throws Error(run_failed) with the driver's own sentence where there is none.
  virtual std::vector<CudaDevice> devices() const = 0;
  // The architectures that its kernels were compiled for, in the words of CMAKE_CUDA_ARCHITECTURES: "80,90,100".
  virtual std::string architectures() const = 0;
  // Makes the calling thread work with this GPU, on a stream that is not the default one (which cannot be captured).
  // Call it before the first tensor is made, because autograd accumulates a gradient on the stream that was current
  // when its parameter got its accumulator.
  virtual void use_device(int index) = 0;
  // Collective over `host`, which the result owns. Device tensors travel over NCCL and CPU tensors over `host`. NCCL is
  // restricted to one algorithm and protocol where ATen's deterministic algorithms are on. Destroy graphs with its
  // collectives before it. After 60 timeouts, or when NCCL reports that a peer is lost, the process ends with exit code
  // 3 on all ranks.
  virtual std::unique_ptr<Communicator> make_nccl(std::unique_ptr<Communicator> host, int device,
                                                  double timeout_seconds) = 0;
  // Makes a graph on the current device and stream, which is that of use_device().
  virtual std::unique_ptr<DeviceGraph> make_graph() = 0;
  // Waits for all work of the current device.
  virtual void synchronize() = 0;
  // Runs `work` and returns how often LibTorch made the host wait for the device meanwhile (a number read back, a copy
  // that is not asynchronous). It counts on the calling thread and in the backward passes that it started. One caller
  // at a time.
  virtual std::int64_t host_waits(const std::function<void()>& work) = 0;
  virtual std::string version() const = 0;  // "CUDA 13.0, NCCL 2.28.9"

 protected:
  CudaModule() = default;
};

// Opens the module beside the program or where libraries are installed, after libtorch_cuda.so. This happens once, and
// the module stays open for the life of the process. Returns nullptr where it cannot be opened, where there is no GPU,
// or where a visible GPU is none of those that it was compiled for. `why_not` then gets one sentence without a full
// stop.
CudaModule* open_cuda_module(std::string& why_not);

// Which of the `devices` > 0 visible GPUs a rank takes. The first rank on a node takes the first, and so on. Ranks
// beyond the last begin again with the first.
int choose_device(int node_rank, int devices);

namespace detail {
// True where code for `architectures` runs on a GPU of compute capability major.minor. A plain number, such as 90, has
// machine code for its generation (9.x, x >= 0) and an intermediate form that the driver compiles for later ones.
// "-real" leaves the latter out, "-virtual" the former. True as well for words such as "native".
bool has_code_for(std::string_view architectures, int major, int minor);
// The module exports these names in C linkage.
constexpr const char* cuda_module_version_symbol = "spankey_cuda_module_version";
constexpr const char* cuda_module_symbol = "spankey_cuda_module";
using CudaModuleVersion = const char* (*)();
using CudaModuleGet = CudaModule* (*)();
}  // namespace detail

}  // namespace spankey
