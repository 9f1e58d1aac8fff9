// Where a rank computes, and over what it communicates there.
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
  std::string name = "cpu";  // or what the GPU calls itself
  bool shared = false;       // some ranks of the run are on one and the same GPU
};

// Collective. The GPU that train.device and device_of_rank() decide on; train.device = "auto" takes GPUs where every
// rank has one to use, and never fails for want of them. The calling thread works with that GPU from here on.
// Error(bad_input), on all ranks, says why a GPU that was asked for cannot be had, and what to change.
Placement place(const Config& config, Communicator& host);

// Which of the `devices` GPUs that it sees a rank takes: the first for the first of all ranks of the job on its
// machine, and so on. `host` may be a part of the job: the groups of a sweep do not meet on a GPU as long as there are
// enough.
int device_of_rank(const Communicator& host, int devices);

// What LibTorch may do to be fast on a GPU, for the whole process: float32 means float32, and under dist.reduction =
// "elastic" the same bits again.
void set_arithmetic(const Config& config);

// Whether two rows of `ids` (ranks, bytes) are equal.
bool any_equal_rows(const at::Tensor& ids);

// Collective. NCCL for tensors on the device, over `host` for all others; nullptr where `host` serves for both: on the
// CPU, for a single rank unless dist.backend asks, and for ranks that share a GPU.
std::unique_ptr<Communicator> make_device_communicator(const Config& config, const Placement& placement,
                                                       Communicator& host);

// What captures and replays work on the device; on the CPU a function that is called again.
std::unique_ptr<DeviceGraph> make_graph(const Placement& placement);

// Runs `work`; how often the host waited for the device meanwhile (CudaModule::host_waits). 0 on the CPU.
std::int64_t host_waits(const Placement& placement, const std::function<void()>& work);

// `tensor` where the network is, images with their channels last in memory, as kernels of a GPU like them. On the CPU
// the same tensor.
at::Tensor to_device(const at::Tensor& tensor, at::Device device);

}  // namespace spankey
