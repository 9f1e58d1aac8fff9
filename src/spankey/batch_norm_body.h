// Arithmetic of the grouped BatchNorm kernels, for the device and, in tests, the host. float32 within a thread, float64
// where threads' results come together; sums are formed in a fixed order, so that equal input gives equal bits.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/portable_math.h"

namespace spankey::batch_norm {

// Count, mean and sum of squared deviations of some values.
struct Moments {
  double count = 0.0, mean = 0.0, squares = 0.0;
};

// Of both sets of values (Chan, Golub & LeVeque 1979).
SPANKEY_HOST_DEVICE inline Moments merge(const Moments& a, const Moments& b) {
  if (b.count == 0.0) return a;
  if (a.count == 0.0) return b;
  const double count = a.count + b.count, difference = b.mean - a.mean, part = b.count / count;
  return {count, a.mean + difference * part, a.squares + b.squares + difference * difference * a.count * part};
}

// What one thread sees of a channel: sums of the differences from its first value, which is near the mean.
struct ShiftedSums {
  float shift = 0.0F, sum = 0.0F, squares = 0.0F;

  SPANKEY_HOST_DEVICE void add(float value, bool first) {
    if (first) shift = value;
    const float difference = value - shift;
    sum += difference;
    squares += difference * difference;
  }

  SPANKEY_HOST_DEVICE Moments moments(std::int64_t count) const {
    if (count == 0) return {};
    const auto n = static_cast<double>(count);
    const double mean = static_cast<double>(sum) / n;
    const double rest = static_cast<double>(squares) - mean * static_cast<double>(sum);
    return {n, static_cast<double>(shift) + mean, rest > 0.0 ? rest : 0.0};
  }
};

SPANKEY_HOST_DEVICE inline float inverse_deviation(const Moments& m, double epsilon) {
  return static_cast<float>(1.0 / std::sqrt(m.squares / m.count + epsilon));
}

// The unbiased variance, as the running statistics take it.
SPANKEY_HOST_DEVICE inline float unbiased_variance(const Moments& m) {
  return static_cast<float>(m.squares / (m.count - 1.0));
}

// relu(x's normal form * weight + bias + residual)
SPANKEY_HOST_DEVICE inline float apply(float x, float mean, float scale, float bias, float residual, bool relu) {
  const float y = (x - mean) * scale + bias + residual;
  return relu && !(y > 0.0F) && y == y ? 0.0F : y;  // what is not a number stays so
}

// The gradient in front of the ReLU whose result was y.
SPANKEY_HOST_DEVICE inline float before_relu(float g, float y, bool relu) {
  return relu && y <= 0.0F ? 0.0F : g;
}

// d loss / d x from the means, over the group, of g and of g times the normal form of x; scale = weight / deviation
// (Ioffe & Szegedy 2015, section 3).
SPANKEY_HOST_DEVICE inline float input_gradient(float g, float x, float mean, float inverse, float scale, float mean_g,
                                                float mean_g_normal) {
  return (g - mean_g - (x - mean) * inverse * mean_g_normal) * scale;
}

}  // namespace spankey::batch_norm
