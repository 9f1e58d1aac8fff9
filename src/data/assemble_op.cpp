#include "data/assemble_op.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace spankey {
namespace {

template <class T>
void fill(const at::Tensor& images, const at::Tensor& table, const at::Tensor& samples, std::int64_t epoch,
          const AssemblyPlan& plan, at::Tensor& out) {
  const auto* pixels = images.const_data_ptr<std::uint8_t>();
  const auto* values = table.const_data_ptr<float>();
  const auto* indices = samples.const_data_ptr<std::int64_t>();
  auto* result = out.mutable_data_ptr<T>();
  const std::int64_t size = plan.channels * plan.pixels();
  constexpr std::int64_t grain_elements = 1 << 14;
  at::parallel_for(0, samples.numel(), std::max<std::int64_t>(1, grain_elements / size),
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t row = begin; row < end; ++row) {
                       SPANKEY_CHECK_GE(indices[row], 0);
                       SPANKEY_CHECK_LT(indices[row], images.size(0));
                       const SampleMap map = sample_map(plan, epoch, indices[row]);
                       const std::uint8_t* image = pixels + indices[row] * size;
                       for (std::int64_t pixel = 0; pixel < plan.pixels(); ++pixel)
                         fill_pixel(plan, map, image, values, row, pixel, result);
                     }
                   });
}

at::Tensor assemble_cpu(const at::Tensor& images, const at::Tensor& table, const at::Tensor& samples,
                        const at::Tensor& position, std::int64_t seed, std::int64_t purpose, std::int64_t augment,
                        double rotation, bool channels_last, at::ScalarType type) {
  const AssemblyPlan plan = assembly_plan(images.sizes(), seed, purpose, augment, rotation, channels_last);
  at::Tensor out = at::empty({samples.numel(), plan.channels, plan.height, plan.width}, images.options().dtype(type),
                             channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  const std::int64_t epoch = position.const_data_ptr<std::int64_t>()[0];
  if (type == at::kBFloat16)
    fill<c10::BFloat16>(images, table, samples, epoch, plan, out);
  else
    fill<float>(images, table, samples, epoch, plan, out);
  return out;
}

TORCH_LIBRARY_FRAGMENT(spankey, library) {
  library.def(
      "assemble(Tensor images, Tensor table, Tensor samples, Tensor position, int seed, int purpose, int augment, "
      "float rotation, bool channels_last, ScalarType dtype) -> Tensor");
}

TORCH_LIBRARY_IMPL(spankey, CPU, library) {
  library.impl("assemble", assemble_cpu);
}

}  // namespace

at::Tensor assemble(const at::Tensor& images, const at::Tensor& table, const at::Tensor& samples,
                    const at::Tensor& position, const AssemblyPlan& plan, at::ScalarType type) {
  SPANKEY_CHECK(type == at::kFloat || type == at::kBFloat16);
  static const auto handle =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("spankey::assemble", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, std::int64_t,
                            std::int64_t, std::int64_t, double, bool, at::ScalarType)>();
  return handle.call(images, table, samples, position, std::bit_cast<std::int64_t>(plan.seed), plan.purpose,
                     static_cast<std::int64_t>(plan.augment), static_cast<double>(plan.rotation), plan.channels_last,
                     type);
}

}  // namespace spankey
