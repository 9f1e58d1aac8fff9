// Arithmetic of the injection kernels, for the device and, in tests, the host. One thread handles `rows` rows by
// `width` neighbouring columns. Keys are formed in registers, in float32.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/portable_math.h"
#include "spankey/ops/inject_mode.h"
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

// Whether packs of `width` floats can be read from `source`.
inline bool reads_whole_packs(const KeySource& source, int width) {
  const auto* first = source.basis ? source.basis : source.coefficients;
  return source.d % width == 0 && reinterpret_cast<std::uintptr_t>(first) % (sizeof(float) * width) == 0;
}

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

// tanh and exp. For activations in bfloat16 they are a GPU's own instructions, whose relative error of 2^-11 is below
// the activations' rounding.
template <class T>
SPANKEY_HOST_DEVICE float tanh_for(float x) {
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(T) == 2) {
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
#endif
  return std::tanh(x);
}
template <class T>
SPANKEY_HOST_DEVICE float exp_for(float x) {
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(T) == 2) return __expf(x);
#endif
  return std::exp(x);
}

// The factor that multiplies h, of type T, or is added to it. `gamma` is the mode's effective_gamma. NaN stays NaN.
template <InjectMode mode, class T = float>
SPANKEY_HOST_DEVICE float factor(float k, float gamma) {
  if constexpr (mode == InjectMode::add) {
    return gamma * k;
  } else if constexpr (mode == InjectMode::product) {
    return k;
  } else if constexpr (mode == InjectMode::sign) {
    return tanh_for<T>(static_cast<float>(sign_slope) * k);
  } else if constexpr (mode == InjectMode::exp) {
    constexpr float limit = 87.336544F;  // 126 ln 2
    const float x = gamma * tanh_for<T>(k);
    return exp_for<T>(x < -limit ? -limit : (x > limit ? limit : x));
  } else {
    const float s = 1.0F + gamma * tanh_for<T>(k);
    if constexpr (mode == InjectMode::sym) return s;
    constexpr auto low = static_cast<float>(multiplier_low), high = static_cast<float>(multiplier_high);
    return s < low ? low : (s > high ? high : s);
  }
}

template <class T, InjectMode mode, int rows, int width>
SPANKEY_HOST_DEVICE void make_factors(float gamma, Keys<rows, width>& keys) {
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < width; ++i) keys.values[r][i] = factor<mode, T>(keys.values[r][i], gamma);
}

// Replaces keys by their factors.
template <class T, int rows, int width>
SPANKEY_HOST_DEVICE void make_factors(InjectMode mode, float gamma, Keys<rows, width>& keys) {
  switch (mode) {
    case InjectMode::add:
      return make_factors<T, InjectMode::add>(gamma, keys);
    case InjectMode::clamp:
      return make_factors<T, InjectMode::clamp>(gamma, keys);
    case InjectMode::exp:
      return make_factors<T, InjectMode::exp>(gamma, keys);
    case InjectMode::sym:
      return make_factors<T, InjectMode::sym>(gamma, keys);
    case InjectMode::sign:
      return make_factors<T, InjectMode::sign>(gamma, keys);
    default:
      return make_factors<T, InjectMode::product>(gamma, keys);
  }
}

// The factors that change nothing.
template <int rows, int width>
SPANKEY_HOST_DEVICE Keys<rows, width> idle_factors(InjectMode mode) {
  Keys<rows, width> factors;
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < width; ++i) factors.values[r][i] = mode == InjectMode::add ? 0.0F : 1.0F;
  return factors;
}

// One row of h and out, from the thread's first column on.
template <InjectMode mode, class T, int width>
SPANKEY_HOST_DEVICE void apply_row(const T* h, T* out, const float (&key)[width], float gamma) {
  const auto from = load<T, width>(h);
  Pack<T, width> to;
  for (int i = 0; i < width; ++i) {
    const auto value = static_cast<float>(from.values[i]);
    const float s = factor<mode, T>(key[i], gamma);
    to.values[i] = static_cast<T>(mode == InjectMode::add ? value + s : value * s);
  }
  store(out, to);
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
  if (!source.coefficients) return idle_factors<rows, width>(source.mode);
  if (source.stride != 0) {
    Keys<rows, width> result = keys_of<rows, width>(source, first, column);
    make_factors<float>(source.mode, source.gamma, result);
    return result;
  }
  Keys<1, width> shared = keys_of<1, width>(source, 0, column);
  make_factors<float>(source.mode, source.gamma, shared);
  Keys<rows, width> result;
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < width; ++i) result.values[r][i] = shared.values[0][i];
  return result;
}

}  // namespace spankey::inject_body
