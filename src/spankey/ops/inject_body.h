// Arithmetic of the injection kernels, for the device and, in tests, the host. One thread handles `rows` rows by
// `width` neighbouring columns. Keys are formed in registers, in float32.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/portable_math.h"
#include "spankey/ops/inject_op.h"
#include "spankey/ops/pack.h"

namespace spankey::inject_body {

// The keys of one pass, whose activations are (rows, d).
struct KeySource {
  const float* coefficients = nullptr;  // (rows or 1, m), or without a basis the keys (rows or 1, d), null for no key
  const float* basis = nullptr;         // (m, d) or null
  std::int64_t rows = 0, d = 0, m = 0;
  std::int64_t stride = 0;  // distance between rows of coefficients, 0 for one row for all
  float gamma = 0.0F;       // the mode's effective_gamma
  InjectMode mode = InjectMode::add;
};

template <int rows, int width>
struct Keys {
  float values[rows][width];
};

// keys += coefficients, one row of `count` each, times basis (count, width), `d` apart.
template <int rows, int width>
SPANKEY_HOST_DEVICE void add_products(const float* const (&coefficients)[rows], const float* basis, std::int64_t d,
                                      std::int64_t count, Keys<rows, width>& keys) {
  for (std::int64_t q = 0; q < count; ++q) {
    const auto b = load<float, width>(basis + q * d);
    for (int r = 0; r < rows; ++r) {
      const float a = coefficients[r][q];
      for (int i = 0; i < width; ++i) keys.values[r][i] += a * b.values[i];
    }
  }
}

// The factor that multiplies h, or is added to it. `gamma` is the mode's effective_gamma. NaN stays NaN.
template <InjectMode mode>
SPANKEY_HOST_DEVICE float factor(float k, float gamma) {
  if constexpr (mode == InjectMode::add) {
    return gamma * k;
  } else if constexpr (mode == InjectMode::product) {
    return k;
  } else if constexpr (mode == InjectMode::sign) {
    return std::tanh(static_cast<float>(sign_slope) * k);
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

// Chooses the mode at run time, for kernels in which that is a small part of the work.
SPANKEY_HOST_DEVICE inline float factor(InjectMode mode, float k, float gamma) {
  switch (mode) {
    case InjectMode::add:
      return factor<InjectMode::add>(k, gamma);
    case InjectMode::clamp:
      return factor<InjectMode::clamp>(k, gamma);
    case InjectMode::exp:
      return factor<InjectMode::exp>(k, gamma);
    case InjectMode::sym:
      return factor<InjectMode::sym>(k, gamma);
    case InjectMode::sign:
      return factor<InjectMode::sign>(k, gamma);
    default:
      return factor<InjectMode::product>(k, gamma);
  }
}

// One row of h and out, from the thread's first column on.
template <InjectMode mode, class T, int width>
SPANKEY_HOST_DEVICE void apply_row(const T* h, T* out, const float (&key)[width], float gamma) {
  auto pack = load<T, width>(h);
  for (int i = 0; i < width; ++i) {
    const auto value = static_cast<float>(pack.values[i]);
    const float s = factor<mode>(key[i], gamma);
    pack.values[i] = static_cast<T>(mode == InjectMode::add ? value + s : value * s);
  }
  store(out, pack);
}

// Keys of the rows from `first` on, at the columns from `column` on, formed by one thread. Rows beyond the last repeat
// the last.
template <int rows, int width>
SPANKEY_HOST_DEVICE Keys<rows, width> keys_of(const KeySource& source, std::int64_t first, std::int64_t column) {
  Keys<rows, width> keys = {};
  const float* coefficients[rows];
  for (int r = 0; r < rows; ++r) {
    const std::int64_t row = first + r < source.rows ? first + r : source.rows - 1;
    coefficients[r] = source.coefficients + row * source.stride;
  }
  if (source.basis) {
    add_products(coefficients, source.basis + column, source.d, source.m, keys);
  } else {
    for (int r = 0; r < rows; ++r) {
      const auto key = load<float, width>(coefficients[r] + column);
      for (int i = 0; i < width; ++i) keys.values[r][i] = key.values[i];
    }
  }
  return keys;
}

// The factors of keys_of(). Without a key they change nothing.
template <int rows, int width>
SPANKEY_HOST_DEVICE Keys<rows, width> factors_of(const KeySource& source, std::int64_t first, std::int64_t column) {
  Keys<rows, width> result = {};
  if (!source.coefficients) {
    const float idle = source.mode == InjectMode::add ? 0.0F : 1.0F;
    for (int r = 0; r < rows; ++r)
      for (int i = 0; i < width; ++i) result.values[r][i] = idle;
  } else if (source.stride == 0) {
    const Keys<1, width> shared = keys_of<1, width>(source, 0, column);
    for (int i = 0; i < width; ++i) {
      const float s = factor(source.mode, shared.values[0][i], source.gamma);
      for (int r = 0; r < rows; ++r) result.values[r][i] = s;
    }
  } else {
    result = keys_of<rows, width>(source, first, column);
    for (int r = 0; r < rows; ++r)
      for (int i = 0; i < width; ++i) result.values[r][i] = factor(source.mode, result.values[r][i], source.gamma);
  }
  return result;
}

}  // namespace spankey::inject_body
