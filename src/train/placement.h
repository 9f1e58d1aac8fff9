// Chooses the device on which a rank computes, and the communicator for tensors there.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "config/config.h"
#include "dist/communicator.h"
#include "dist/device_graph.h"

namespace spankey {

struct Placement {
  at::Device device = at::kCPU;
  std::string name = "cpu";  // or the name of the GPU
  bool shared = false;       // true where some ranks of the run use the same GPU
};

// Collective. Chooses a GPU by train.device and device_of_rank(). train.device = "auto" takes GPUs where every rank has
// one to use, and never fails for want of them. The calling thread works with that GPU from here on. Error(bad_input),
// on all ranks, says why a requested GPU cannot be had, and what to change.
Placement place(const Config& config, Communicator& host);

// Returns which of the `devices` GPUs that it sees a rank takes. The first of all ranks of the job on its machine takes
// the first one, and so on. `host` may be a part of the job. The groups of a sweep do not share a GPU as long as there
// are enough.
int device_of_rank(const Communicator& host, int devices);

// Sets LibTorch's arithmetic on a GPU, for the whole process. float32 means float32, and dist.reduction = "elastic"
// repeats its bits.
void set_arithmetic(const Config& config);

// True where two rows of `ids` (ranks, bytes) are equal.
bool any_equal_rows(const at::Tensor& ids);

// Collective. Returns NCCL for tensors on the device, with `host` for all others. Returns nullptr where `host` serves
// for both, which is so on the CPU, for a single rank unless dist.backend asks for NCCL, and for ranks that share a
// GPU.
std::unique_ptr<Communicator> make_device_communicator(const Config& config, const Placement& placement,
                                                       Communicator& host);

// Returns the object that captures and replays work on the device. On the CPU it calls the function again.
std::unique_ptr<DeviceGraph> make_graph(const Placement& placement);

// Runs `work` and returns how often the host waited for the device meanwhile (CudaModule::host_waits). Returns 0 on the
// CPU.
std::int64_t host_waits(const Placement& placement, const std::function<void()>& work);

// Copies `tensor` to the device of the network, images in channels_last format, which GPU kernels prefer. Returns the
// same tensor on the CPU.
at::Tensor to_device(const at::Tensor& tensor, at::Device device);

}  // namespace spankey
