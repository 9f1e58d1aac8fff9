#include "data/assemble_op.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace spankey {
namespace {

struct Plane {
  const std::uint8_t* pixels;
  std::int64_t width, height;
};

void copy_plane(const Plane& in, const float* table, float* out) {
  for (std::int64_t i = 0; i < in.width * in.height; ++i) out[i] = table[in.pixels[i]];
}

// Working memory for `affine`: a plane amid zeros, and where each output pixel is read from in it.
struct PaddedPlane {
  std::int64_t margin = 0;
  int row_bits = 0;                  // a row takes 2^row_bits places
  std::vector<std::uint8_t> pixels;  // (H + 2 margin, 2^row_bits)
  std::vector<std::int32_t> source;  // (H, W)
};

// An affine map reads from a copy of the plane in the middle of zeros wide enough for every map of the augmentation:
// no pixel needs a bounds check. Rows start at multiples of a power of two, so that an index takes no multiplication.
PaddedPlane padded_plane(std::int64_t width, std::int64_t height, float rotation) {
  // A corner leaves the plane by no more than it moves, and stays in the circle around the plane; then the shift.
  const double reach = 0.5 * std::hypot(static_cast<double>(width), static_cast<double>(height));
  const double turned = std::min(0.0175 * rotation * reach, reach - 0.5 * static_cast<double>(std::min(width, height)));
  const auto side = static_cast<double>(std::max(width, height));
  PaddedPlane plane;
  plane.margin = static_cast<std::int64_t>(std::ceil(turned + augmentation::affine_translate * side)) + 2;
  while ((std::int64_t{1} << plane.row_bits) < width + 2 * plane.margin) ++plane.row_bits;
  plane.pixels.resize(static_cast<std::size_t>((height + 2 * plane.margin) << plane.row_bits));
  plane.source.resize(static_cast<std::size_t>(width * height));
  return plane;
}

// Per output pixel the place in the padded plane that it shows.
void affine_sources(const FixedAffine& m, std::int64_t width, std::int64_t height, PaddedPlane& plane) {
  const auto margin = static_cast<std::int32_t>(plane.margin << 16);
  const int row_bits = plane.row_bits;
  const std::int32_t row_mask = -(1 << row_bits);
  std::int32_t* source = plane.source.data();
  std::int32_t row_x = m.x0 + margin, row_y = m.y0 + margin;
  for (std::int64_t y = 0; y < height; ++y, row_x += m.xy, row_y += m.yy, source += width) {
    std::int32_t at_x = row_x, at_y = row_y;
    for (std::int64_t x = 0; x < width; ++x, at_x += m.xx, at_y += m.yx)
      source[x] = ((at_y >> (16 - row_bits)) & row_mask) + (at_x >> 16);
  }
}

void gather_plane(const Plane& in, const float* table, PaddedPlane& padded, float* out) {
  std::uint8_t* row = padded.pixels.data() + (padded.margin << padded.row_bits) + padded.margin;
  for (std::int64_t y = 0; y < in.height; ++y, row += std::int64_t{1} << padded.row_bits)
    std::copy_n(in.pixels + y * in.width, in.width, row);
  const std::int32_t* source = padded.source.data();
  const std::uint8_t* pixels = padded.pixels.data();
  for (std::int64_t i = 0; i < in.width * in.height; ++i) out[i] = table[pixels[source[i]]];
}

// Output column x shows input column x + shift_x, or its mirror image.
void crop_plane(const Plane& in, std::int64_t shift_x, std::int64_t shift_y, bool flip, const float* table,
                float* out) {
  const float outside = table[0];
  const std::int64_t first = std::max<std::int64_t>(0, -shift_x), last = std::min(in.width, in.width - shift_x);
  for (std::int64_t y = 0; y < in.height; ++y, out += in.width) {
    const std::int64_t from_y = y + shift_y;
    if (from_y < 0 || from_y >= in.height) {
      std::fill_n(out, in.width, outside);
      continue;
    }
    const std::uint8_t* row = in.pixels + from_y * in.width + shift_x;
    std::fill(out, out + (flip ? in.width - last : first), outside);
    std::fill(out + (flip ? in.width - first : last), out + in.width, outside);
    if (flip) {
      for (std::int64_t x = first; x < last; ++x) out[in.width - 1 - x] = table[row[x]];
    } else {
      for (std::int64_t x = first; x < last; ++x) out[x] = table[row[x]];
    }
  }
}

// One sample, plane by plane: `image` (C, H, W), `table` (C, 256).
void fill_image(const AssemblyPlan& plan, const SampleMap& map, const std::uint8_t* image, const float* table,
                PaddedPlane& scratch, float* out) {
  if (plan.augment == Augment::affine) affine_sources(map.affine, plan.width, plan.height, scratch);
  for (std::int64_t c = 0; c < plan.channels; ++c, image += plan.pixels(), table += 256, out += plan.pixels()) {
    const Plane plane{image, plan.width, plan.height};
    switch (plan.augment) {
      case Augment::none:
        copy_plane(plane, table, out);
        break;
      case Augment::affine:
        gather_plane(plane, table, scratch, out);
        break;
      case Augment::crop_flip:
        crop_plane(plane, map.shift_x, map.shift_y, map.flip, table, out);
        break;
    }
  }
}

at::Tensor assemble_cpu(const at::Tensor& images, const at::Tensor& table, const at::Tensor& samples,
                        const at::Tensor& position, std::int64_t seed, std::int64_t purpose, std::int64_t augment,
                        double rotation, bool channels_last, at::ScalarType type) {
  const AssemblyPlan plan = assembly_plan(images.sizes(), seed, purpose, augment, rotation, channels_last);
  const std::int64_t n = samples.numel(), size = plan.channels * plan.pixels();
  at::Tensor out = at::empty({n, plan.channels, plan.height, plan.width}, images.options().dtype(at::kFloat));
  const std::span all(images.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(images.numel()));
  const std::span rows(samples.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(n));
  const std::int64_t epoch = position.const_data_ptr<std::int64_t>()[0];
  constexpr std::int64_t grain_elements = 1 << 14;
  at::parallel_for(0, n, std::max<std::int64_t>(1, grain_elements / size), [&](std::int64_t begin, std::int64_t end) {
    assemble_rows(plan, all, table.const_data_ptr<float>(),
                  rows.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)), epoch,
                  out.mutable_data_ptr<float>() + begin * size);
  });
  return out.to(type).contiguous(channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
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

void assemble_rows(const AssemblyPlan& plan, std::span<const std::uint8_t> images, const float* table,
                   std::span<const std::int64_t> samples, std::int64_t epoch, float* out) {
  const std::int64_t size = plan.channels * plan.pixels();
  PaddedPlane scratch;
  if (plan.augment == Augment::affine) scratch = padded_plane(plan.width, plan.height, plan.rotation);
  for (const std::int64_t sample : samples) {
    SPANKEY_CHECK_GE(sample, 0);
    SPANKEY_CHECK_LT(sample, static_cast<std::int64_t>(images.size()) / size);
    fill_image(plan, sample_map(plan, epoch, sample), images.data() + sample * size, table, scratch, out);
    out += size;
  }
}

at::Tensor assemble(const at::Tensor& images, const at::Tensor& table, const at::Tensor& samples,
                    const at::Tensor& position, const AssemblyPlan& plan, at::ScalarType type) {
  SPANKEY_CHECK(type == at::kFloat || type == at::kBFloat16);
  static const auto handle =
      c10::Dispatcher::singleton().findSchemaOrThrow("spankey::assemble", "").typed<decltype(assemble_cpu)>();
  return handle.call(images, table, samples, position, std::bit_cast<std::int64_t>(plan.seed), plan.purpose,
                     static_cast<std::int64_t>(plan.augment), static_cast<double>(plan.rotation), plan.channels_last,
                     type);
}

}  // namespace spankey
