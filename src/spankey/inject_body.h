// Arithmetic of the injection kernel, for the device and, in tests, the host. One thread has `rows` rows by `width`
// neighbouring columns; keys are formed in registers, in float32.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/portable_math.h"
#include "spankey/inject_op.h"

namespace spankey::inject_body {

// Neighbouring numbers that one thread reads at once.
template <class T, int width>
struct alignas(sizeof(T) * width) Pack {
  T values[width];
};

template <int rows, int width>
struct Keys {
  float values[rows][width];
};

// keys += coefficients (rows, count), `stride` apart, times basis (count, width), `d` apart.
template <int rows, int width>
SPANKEY_HOST_DEVICE void add_products(const float* coefficients, std::int64_t stride, const float* basis,
                                      std::int64_t d, std::int64_t count, Keys<rows, width>& keys) {
  for (std::int64_t q = 0; q < count; ++q) {
    const auto b = *reinterpret_cast<const Pack<float, width>*>(basis + q * d);
    for (int r = 0; r < rows; ++r) {
      const float a = coefficients[r * stride + q];
      for (int i = 0; i < width; ++i) keys.values[r][i] += a * b.values[i];
    }
  }
}

// What multiplies h, or is added to it. `gamma` is the mode's effective_gamma. What is not a number stays so.
template <InjectMode mode>
SPANKEY_HOST_DEVICE float factor(float k, float gamma) {
  if constexpr (mode == InjectMode::add) {
    return gamma * k;
  } else if constexpr (mode == InjectMode::product) {
    return k;
  } else if constexpr (mode == InjectMode::exp) {
    constexpr float limit = 87.336544F;  // 126 ln 2
    const float x = gamma * std::tanh(k);
    return std::exp(x < -limit ? -limit : (x > limit ? limit : x));
  } else {
    const float s = 1.0F + gamma * std::tanh(k);
    if constexpr (mode == InjectMode::sym) return s;
    constexpr auto low = static_cast<float>(multiplier_low), high = static_cast<float>(multiplier_high);
    return s < low ? low : (s > high ? high : s);
  }
}

// One row of h and out, from the thread's first column on.
template <InjectMode mode, class T, int width>
SPANKEY_HOST_DEVICE void apply_row(const T* h, T* out, const float (&key)[width], float gamma) {
  auto pack = *reinterpret_cast<const Pack<T, width>*>(h);
  for (int i = 0; i < width; ++i) {
    const auto value = static_cast<float>(pack.values[i]);
    const float s = factor<mode>(key[i], gamma);
    pack.values[i] = static_cast<T>(mode == InjectMode::add ? value + s : value * s);
  }
  *reinterpret_cast<Pack<T, width>*>(out) = pack;
}

}  // namespace spankey::inject_body
