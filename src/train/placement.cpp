#include "train/placement.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <vector>

#include "base/error.h"
#include "dist/cuda_module.h"
#include "train/together.h"

namespace spankey {
namespace {

// The module, or an error: for a rank that has been placed on a GPU.
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

// float32 means float32: no products of 10-bit mantissas behind its back. Elastic reduction promises bits.
void set_arithmetic(const Config& config) {
  auto& context = at::globalContext();
  const bool exact = config.dist.reduction == Reduction::elastic;
  context.setAllowTF32CuBLAS(false);
  context.setAllowTF32CuDNN(false);
  context.setDeterministicCuDNN(exact);
  context.setBenchmarkCuDNN(!exact);
  context.setDeterministicAlgorithms(exact, /*warn_only=*/true);
}

}  // namespace

Placement place(const Config& config, Communicator& host) {
  if (config.train.device == Device::cpu) return {};
  std::string why_not;
  auto* module = open_cuda_module(why_not);
  const auto devices = module ? module->devices() : std::vector<CudaDevice>();
  if (module && devices.empty()) why_not = "no GPU is visible to this process";
  together(host, [&] {
    if (config.train.device == Device::cuda && devices.empty())
      fail_key(config, "train.device", fmt::format("{}; accepted: cpu, auto", why_not));
  });
  if (!everywhere(!devices.empty(), host)) return {};
  return together(host, [&] {
    const auto index = choose_device(host.local_rank(), host.local_size(), static_cast<int>(devices.size()),
                                     /*may_share=*/config.dist.backend != Backend::nccl);
    module->use_device(index);
    set_arithmetic(config);
    return Placement{at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index)),
                     devices[static_cast<std::size_t>(index)].name};
  });
}

std::unique_ptr<Communicator> make_device_communicator(const Config& config, const Placement& placement,
                                                       Communicator& host) {
  const bool asked = config.dist.backend == Backend::nccl;
  together(host, [&] {
    if (asked && !placement.device.is_cuda())
      fail_key(config, "dist.backend", "NCCL is for tensors on GPUs; accepted without one: auto, self, mpi");
  });
  if (!placement.device.is_cuda() || (!asked && (config.dist.backend != Backend::auto_ || host.size() == 1)))
    return nullptr;
  auto& module = cuda_module();
  if (!everywhere(host.local_size() <= static_cast<int>(module.devices().size()), host)) return nullptr;
  return module.make_nccl(host.split(/*color=*/0, host.rank()), placement.device.index(), config.dist.timeout_seconds);
}

std::unique_ptr<DeviceGraph> make_graph(const Placement& placement) {
  return placement.device.is_cuda() ? cuda_module().make_graph() : make_eager_graph();
}

at::Tensor to_device(const at::Tensor& tensor, at::Device device) {
  if (device.is_cpu()) return tensor;
  const auto format = tensor.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  return tensor.contiguous(format).pin_memory().to(device, tensor.scalar_type(), /*non_blocking=*/true);
}

}  // namespace spankey
