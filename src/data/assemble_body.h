// The arithmetic of augmentation, with the same bits on the CPU and the GPU. assembler.h explains what it means.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/philox.h"
#include "base/portable_math.h"
#include "config/enums.h"

namespace spankey {

// The inverse of torchvision's affine matrix in PIL's fixed point. Output pixel (x, y) shows the input pixel ((xx x +
// xy y + x0) >> 16, (yx x + yy y + y0) >> 16).
struct FixedAffine {
  std::int32_t xx, xy, x0, yx, yy, y0;
};

namespace augmentation {

constexpr float affine_translate = 0.06f;
constexpr std::int64_t crop_padding = 4;

// Each operation is rounded on its own, on the device as well.
#ifdef __CUDA_ARCH__
SPANKEY_HOST_DEVICE inline double mul(double a, double b) {
  return __dmul_rn(a, b);
}
SPANKEY_HOST_DEVICE inline double add(double a, double b) {
  return __dadd_rn(a, b);
}
#else
inline double mul(double a, double b) {
  return a * b;
}
inline double add(double a, double b) {
  return a + b;
}
#endif

// low + (high - low) u for u of [0, 1)
SPANKEY_HOST_DEVICE inline float between(float u, float low, float high) {
  return portable::detail::mul_add(portable::detail::add(high, -low), u, low);
}

SPANKEY_HOST_DEVICE inline std::int64_t affine_shift(float u, std::int64_t extent) {
  const float most = portable::detail::mul(affine_translate, static_cast<float>(extent));
  return static_cast<std::int64_t>(portable::detail::nearest(between(u, -most, most)));
}

SPANKEY_HOST_DEVICE inline std::int64_t crop_shift(float u) {
  return static_cast<std::int64_t>(portable::detail::mul(u, 2 * crop_padding + 1)) - crop_padding;
}

SPANKEY_HOST_DEVICE inline std::int32_t fixed(double value) {
  return static_cast<std::int32_t>(floor(add(mul(value, 65536.0), 0.5)));
}

}  // namespace augmentation

// torchvision functional._get_inverse_affine_matrix without scale and shear, for the centre (W/2, H/2). At pixel
// centres x_in = c (x - cx - tx) + s (y - cy - ty) + cx, and y_in = -s (x - cx - tx) + c (y - cy - ty) + cy.
SPANKEY_HOST_DEVICE inline FixedAffine fixed_affine(float angle_degrees, std::int64_t shift_x, std::int64_t shift_y,
                                                    std::int64_t width, std::int64_t height) {
  using augmentation::add, augmentation::fixed, augmentation::mul;
  float sine, cosine;
  portable::sincos_2pi(portable::detail::div(angle_degrees, 360.0f), sine, cosine);
  const double s = static_cast<double>(sine), c = static_cast<double>(cosine);
  const double cx = static_cast<double>(width) * 0.5, cy = static_cast<double>(height) * 0.5;
  const double dx = 0.5 - cx - static_cast<double>(shift_x), dy = 0.5 - cy - static_cast<double>(shift_y);
  return {fixed(c),  fixed(s), fixed(add(add(mul(c, dx), mul(s, dy)), cx)),
          fixed(-s), fixed(c), fixed(add(add(mul(-s, dx), mul(c, dy)), cy))};
}

// Where the pixels of one augmented sample come from.
struct SampleMap {
  Augment augment = Augment::none;
  std::int32_t width = 0, height = 0;
  FixedAffine affine{};                   // affine
  std::int32_t shift_x = 0, shift_y = 0;  // crop_flip
  bool flip = false;
};

// Makes the map of a sample from three draws of [0, 1).
SPANKEY_HOST_DEVICE inline SampleMap sample_map(Augment augment, const float (&u)[3], float rotation,
                                                std::int64_t width, std::int64_t height) {
  using namespace augmentation;
  SampleMap map;
  map.augment = augment;
  map.width = static_cast<std::int32_t>(width);
  map.height = static_cast<std::int32_t>(height);
  if (augment == Augment::affine) {
    map.affine = fixed_affine(between(u[0], -rotation, rotation), affine_shift(u[1], width), affine_shift(u[2], height),
                              width, height);
  } else if (augment == Augment::crop_flip) {
    map.shift_x = static_cast<std::int32_t>(crop_shift(u[0]));
    map.shift_y = static_cast<std::int32_t>(crop_shift(u[1]));
    map.flip = u[2] < 0.5f;
  }
  return map;
}

// The index in the plane of the pixel that output pixel (x, y) shows, or -1 outside, where pixels count as black.
SPANKEY_HOST_DEVICE inline std::int32_t source_pixel(const SampleMap& m, std::int32_t x, std::int32_t y) {
  std::int32_t from_x = x, from_y = y;
  if (m.augment == Augment::affine) {
    from_x = (m.affine.xx * x + m.affine.xy * y + m.affine.x0) >> 16;
    from_y = (m.affine.yx * x + m.affine.yy * y + m.affine.y0) >> 16;
  } else if (m.augment == Augment::crop_flip) {
    from_x = (m.flip ? m.width - 1 - x : x) + m.shift_x;
    from_y = y + m.shift_y;
  }
  const bool inside = from_x >= 0 && from_x < m.width && from_y >= 0 && from_y < m.height;
  return inside ? from_y * m.width + from_x : -1;
}

// The shapes and the augmentation of a batch.
struct AssemblyPlan {
  std::int64_t channels, height, width;
  Augment augment;
  float rotation;  // largest angle of `affine`, degrees
  std::uint64_t seed;
  std::uint32_t purpose;
  bool channels_last;

  SPANKEY_HOST_DEVICE std::int64_t pixels() const { return height * width; }
};

// The first three uniform draws of Stream(seed, purpose, epoch, 0, sample), which are words of one block
// (base/stream.h).
SPANKEY_HOST_DEVICE inline void sample_draws(const AssemblyPlan& plan, std::int64_t epoch, std::int64_t sample,
                                             float (&u)[3]) {
  const philox::Key key = philox::stream_key(plan.seed, plan.purpose, static_cast<std::uint32_t>(epoch), 0);
  const philox::Words words = philox::block(key, 0, 0, static_cast<std::uint64_t>(sample));
  for (int i = 0; i < 3; ++i) u[i] = philox::uniform(words.v[i]);
}

// The map of sample number `sample` of the data set in an epoch.
SPANKEY_HOST_DEVICE inline SampleMap sample_map(const AssemblyPlan& plan, std::int64_t epoch, std::int64_t sample) {
  float u[3] = {};
  if (plan.augment != Augment::none) sample_draws(plan, epoch, sample, u);
  return sample_map(plan.augment, u, plan.rotation, plan.width, plan.height);
}

// Fills one output pixel of all channels. `image` is (C, H, W). `table` is (C, 256), the normalised value of each byte.
// `out` is the batch, filled at row `row`.
template <class T>
SPANKEY_HOST_DEVICE void fill_pixel(const AssemblyPlan& plan, const SampleMap& map, const std::uint8_t* image,
                                    const float* table, std::int64_t row, std::int64_t pixel, T* out) {
  const std::int32_t from =
      source_pixel(map, static_cast<std::int32_t>(pixel % plan.width), static_cast<std::int32_t>(pixel / plan.width));
  const std::int64_t plane = plan.pixels();
  for (std::int64_t c = 0; c < plan.channels; ++c) {
    const std::int64_t value = from < 0 ? 0 : image[c * plane + from];
    const std::int64_t to =
        plan.channels_last ? (row * plane + pixel) * plan.channels + c : (row * plan.channels + c) * plane + pixel;
    out[to] = static_cast<T>(table[c * 256 + value]);
  }
}

}  // namespace spankey
