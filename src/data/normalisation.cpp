#include "data/normalisation.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <cstddef>
#include <cstdint>

#include "base/error.h"

namespace spankey {

at::Tensor normalisation_table(std::span<const float> mean, std::span<const float> std) {
  SPANKEY_CHECK_EQ(mean.size(), std.size());
  at::Tensor table = at::empty({std::ssize(mean), 256}, at::kFloat);
  float* out = table.mutable_data_ptr<float>();
  for (std::size_t c = 0; c < mean.size(); ++c)
    for (int v = 0; v < 256; ++v) *out++ = (static_cast<float>(v) / 255.0f - mean[c]) / std[c];
  return table;
}

at::Tensor normalised(const at::Tensor& images, const at::Tensor& table) {
  SPANKEY_CHECK_EQ(images.size(1), table.size(0));
  const at::Tensor bytes = images.contiguous();
  at::Tensor result = at::empty(bytes.sizes(), at::kFloat);
  const auto* in = bytes.const_data_ptr<std::uint8_t>();
  const auto* values = table.const_data_ptr<float>();
  float* out = result.mutable_data_ptr<float>();
  const std::int64_t channels = bytes.size(1), plane = bytes.size(2) * bytes.size(3);
  constexpr std::int64_t grain_elements = 1 << 15;  // tens of microseconds: worth waking a thread for
  at::parallel_for(0, bytes.size(0) * channels,
                   std::max<std::int64_t>(1, grain_elements / std::max<std::int64_t>(1, plane)),
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t p = begin; p < end; ++p) {
                       const float* of_channel = values + p % channels * 256;
                       for (std::int64_t i = p * plane; i < (p + 1) * plane; ++i) out[i] = of_channel[in[i]];
                     }
                   });
  return result;
}

}  // namespace spankey
