#include "train/placement.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "dist/cuda_module.h"
#include "dist/on_all_ranks.h"

namespace spankey {
namespace {

// Returns the module, or throws an error, for a rank that has been placed on a GPU.
CudaModule& cuda_module() {
  std::string why_not;
  auto* module = open_cuda_module(why_not);
  if (!module) fail_run("{}", why_not);
  return *module;
}

bool everywhere(bool here, Communicator& communicator) {
  auto flag = at::full({1}, here ? 1 : 0, at::kLong);
  communicator.all_reduce(flag, ReduceOp::min);
  return flag.item<std::int64_t>() != 0;
}

}  // namespace

Placement place(const Config& config, Communicator& host) {
  if (config.train.device == Device::cpu) return {};
  std::string why_not;
  auto* module = open_cuda_module(why_not);
  const auto devices = module ? module->devices() : std::vector<CudaDevice>();
  on_all_ranks(host, [&] {
    if (config.train.device == Device::cuda && devices.empty())
      fail_key(config, "train.device", fmt::format("{}; accepted: cpu, auto", why_not));
  });
  if (!everywhere(!devices.empty(), host)) return {};
  const auto index = device_of_rank(host, static_cast<int>(devices.size()));
  const auto& mine = devices[static_cast<std::size_t>(index)];
  // GPUs are compared by their ids, not by how many a rank sees, because a scheduler may show each rank its own GPU
  // only.
  auto id = at::empty({static_cast<std::int64_t>(mine.uuid.size())}, at::kByte);
  std::copy(mine.uuid.begin(), mine.uuid.end(), id.mutable_data_ptr<std::uint8_t>());
  const bool shared = any_equal_rows(host.all_gather(id));
  return on_all_ranks(host, [&] {
    module->use_device(index);
    set_arithmetic(config);
    return Placement{at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index)), mine.name, shared};
  });
}

int device_of_rank(const Communicator& host, int devices) {
  return choose_device(host.node_rank(), devices);
}

// TF32 is off, because its products have mantissas of 10 bits.
void set_arithmetic(const Config& config) {
  auto& context = at::globalContext();
  const bool exact = config.dist.reduction == Reduction::elastic;
  // cuBLAS needs this to repeat its bits. LibTorch reads it when it first calls cuBLAS.
  if (exact) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  context.setAllowTF32CuBLAS(false);
  context.setAllowTF32CuDNN(false);
  context.setDeterministicCuDNN(exact);
  context.setBenchmarkCuDNN(!exact);
  context.setDeterministicAlgorithms(exact, /*warn_only=*/true);
  // The fused kernels of attention add their gradients in no fixed order, and `warn_only` lets them.
  context.setSDPUseFlash(!exact);
  context.setSDPUseMemEfficient(!exact);
  context.setSDPUseCuDNN(!exact);
  // Otherwise new memory is filled before it is written, with one more kernel for each tensor. Our operators write all
  // of their memory.
  context.setDeterministicFillUninitializedMemory(false);
}

bool any_equal_rows(const at::Tensor& ids) {
  const auto rows = ids.contiguous();
  std::set<std::string_view> seen;
  const auto width = static_cast<std::size_t>(rows.size(1));
  const auto* bytes = reinterpret_cast<const char*>(rows.const_data_ptr<std::uint8_t>());
  for (std::int64_t row = 0; row < rows.size(0); ++row)
    if (!seen.emplace(bytes + static_cast<std::size_t>(row) * width, width).second) return true;
  return false;
}

std::unique_ptr<Communicator> make_device_communicator(const Config& config, const Placement& placement,
                                                       Communicator& host) {
  const bool asked = config.dist.backend == Backend::nccl;
  on_all_ranks(host, [&] {
    if (asked && !placement.device.is_cuda())
      fail_key(config, "dist.backend", "NCCL is for tensors on GPUs; accepted without one: auto, self, mpi");
    if (asked && placement.shared)
      fail_key(config, "dist.backend", "ranks share a GPU; accepted: mpi, or as many ranks as GPUs on every machine");
  });
  if (!placement.device.is_cuda() || (!asked && (config.dist.backend != Backend::auto_ || host.size() == 1)))
    return nullptr;
  auto& module = cuda_module();
  if (placement.shared) return nullptr;
  return module.make_nccl(host.split(/*color=*/0, host.rank()), placement.device.index(), config.dist.timeout_seconds);
}

std::unique_ptr<DeviceGraph> make_graph(const Placement& placement) {
  return placement.device.is_cuda() ? cuda_module().make_graph() : make_eager_graph();
}

std::int64_t host_waits(const Placement& placement, const std::function<void()>& work) {
  if (placement.device.is_cuda()) return cuda_module().host_waits(work);
  work();
  return 0;
}

at::Tensor to_device(const at::Tensor& tensor, at::Device device) {
  if (device.is_cpu()) return tensor;
  const auto format = tensor.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  return tensor.contiguous(format).pin_memory().to(device, tensor.scalar_type(), /*non_blocking=*/true);
}

}  // namespace spankey
