// spankey::assemble for CUDA.
#include "data/assemble_cuda.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "base/portable_math.h"
#include "data/assemble_op.h"

namespace spankey {
namespace {

at::Tensor assemble_cuda(const at::Tensor& images, const at::Tensor& table, const at::Tensor& samples,
                         const at::Tensor& position, std::int64_t seed, std::int64_t purpose, std::int64_t augment,
                         double rotation, bool channels_last, at::ScalarType type) {
  const c10::cuda::OptionalCUDAGuard guard(images.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const AssemblyPlan plan = assembly_plan(images.sizes(), seed, purpose, augment, rotation, channels_last);
  at::Tensor out = at::empty({samples.numel(), plan.channels, plan.height, plan.width}, images.options().dtype(type),
                             channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  if (out.numel() == 0) return out;
  const AssemblySource source{.images = images.const_data_ptr<std::uint8_t>(),
                              .table = table.const_data_ptr<float>(),
                              .samples = samples.const_data_ptr<std::int64_t>(),
                              .position = position.const_data_ptr<std::int64_t>(),
                              .count = samples.numel()};
  if (type == at::kBFloat16)
    launch_assembly(source, plan, static_cast<BFloat16*>(out.mutable_data_ptr()), stream);
  else
    launch_assembly(source, plan, out.mutable_data_ptr<float>(), stream);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

TORCH_LIBRARY_IMPL(spankey, CUDA, library) {
  library.impl("assemble", assemble_cuda);
}

}  // namespace
}  // namespace spankey
