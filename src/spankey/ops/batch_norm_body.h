// Arithmetic of the grouped BatchNorm kernels, for the device and, in tests, the host. It is float32 within a thread
// and float64 where threads' results are combined. Sums have a fixed order, so that equal input gives equal bits.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/portable_math.h"
#include "spankey/ops/inject_body.h"
#include "spankey/ops/pack.h"

namespace spankey::batch_norm {

// Count, mean and sum of squared deviations of some values.
struct Moments {
  double count = 0.0, mean = 0.0, squares = 0.0;
};

// The sum of the differences of some values from an origin, and the sum of the squares of these differences.
struct Differences {
  double sum = 0.0, squares = 0.0;

  // Their moments, where there are `count` values.
  SPANKEY_HOST_DEVICE Moments moments(float origin, double count) const {
    const double part = sum / count, rest = squares - part * sum;
    return {count, static_cast<double>(origin) + part, rest > 0.0 ? rest : 0.0};
  }
};

// Sums over the values of a channel that one thread reads. They are sums of the differences from its first value, which
// is near the mean. Threads' sums are added once they are differences from the same origin.
struct ShiftedSums {
  float shift = 0.0F, sum = 0.0F, squares = 0.0F;

  SPANKEY_HOST_DEVICE void add(float value) {
    const float difference = value - shift;
    sum += difference;
    squares += difference * difference;
  }

  // The same sums for differences from `origin`, in float64.
  SPANKEY_HOST_DEVICE Differences from(float origin, std::int64_t count) const {
    const auto n = static_cast<double>(count), first = static_cast<double>(sum);
    const double by = static_cast<double>(shift) - static_cast<double>(origin);
    return {first + n * by, static_cast<double>(squares) + by * (2.0 * first + n * by)};
  }
};

SPANKEY_HOST_DEVICE inline float inverse_deviation(const Moments& m, double epsilon) {
  return static_cast<float>(1.0 / std::sqrt(m.squares / m.count + epsilon));
}

// The unbiased variance, as the running statistics take it.
SPANKEY_HOST_DEVICE inline float unbiased_variance(const Moments& m) {
  return static_cast<float>(m.squares / (m.count - 1.0));
}

// Values for the channels of one thread, with scale = weight / deviation.
template <int width>
struct Channels {
  float mean[width], scale[width], bias[width];
};

template <int width>
SPANKEY_HOST_DEVICE Channels<width> channels_of(const float* mean, const float* inverse, const float* weight,
                                                const float* bias) {
  Channels<width> c;
  for (int i = 0; i < width; ++i) {
    c.mean[i] = mean[i];
    c.scale[i] = weight[i] * inverse[i];
    c.bias[i] = bias[i];
  }
  return c;
}

// Computes x's normal form * weight + bias + residual. The backward pass computes it again for the ReLU. fma() in both
// places keeps a compiler from rounding one of them differently.
SPANKEY_HOST_DEVICE inline float before_relu(float x, float mean, float scale, float bias, float residual) {
  return std::fma(x - mean, scale, bias) + residual;
}

// d loss / d x from the means, over the group, of g and of g times the normal form of x (Ioffe & Szegedy 2015, section
// 3). `slope` is the second of these over the deviation.
SPANKEY_HOST_DEVICE inline float input_gradient(float g, float x, float mean, float scale, float mean_g, float slope) {
  return (g - mean_g - (x - mean) * slope) * scale;
}

// Where a key enters. `factors` of inject_body for the thread's channels are added or multiplied. Null means no key.
struct Entry {
  const float* factors = nullptr;
  bool adds = false;

  SPANKEY_HOST_DEVICE bool multiplies() const { return factors && !adds; }
};

// Computes y of one row of the thread's channels, with the key that follows.
template <class T, int width>
SPANKEY_HOST_DEVICE Pack<T, width> forward_row(const Pack<T, width>& x, const Pack<T, width>& residual,
                                               const Channels<width>& c, bool relu, const Entry& key) {
  Pack<T, width> y;
  for (int i = 0; i < width; ++i) {
    float value = before_relu(static_cast<float>(x.values[i]), c.mean[i], c.scale[i], c.bias[i],
                              static_cast<float>(residual.values[i]));
    if (relu && value <= 0.0F) value = 0.0F;  // NaN stays NaN
    if (key.factors) value = key.adds ? value + key.factors[i] : value * key.factors[i];
    y.values[i] = static_cast<T>(value);
  }
  return y;
}

// Returns one row's gradient before the ReLU, rounded, and adds it, and its product with the difference of x from the
// mean, to the thread's sums.
template <class T, int width>
SPANKEY_HOST_DEVICE Pack<T, width> sum_row(const Pack<T, width>& g, const Pack<T, width>& x,
                                           const Pack<T, width>& residual, const Channels<width>& c, bool relu,
                                           const Entry& key, float (&sums)[width], float (&products)[width]) {
  Pack<T, width> prepared;
  for (int i = 0; i < width; ++i) {
    const auto value = static_cast<float>(x.values[i]);
    auto gradient = static_cast<float>(g.values[i]);
    if (key.multiplies()) gradient *= key.factors[i];
    if (relu && before_relu(value, c.mean[i], c.scale[i], c.bias[i], static_cast<float>(residual.values[i])) <= 0.0F)
      gradient = 0.0F;
    prepared.values[i] = static_cast<T>(gradient);
    gradient = static_cast<float>(prepared.values[i]);
    sums[i] += gradient;
    products[i] += gradient * (value - c.mean[i]);
  }
  return prepared;
}

// Computes d loss / d x of one row. `relu` says that g is not prepared, and that there was neither residual nor key.
template <class T, int width>
SPANKEY_HOST_DEVICE Pack<T, width> input_row(const Pack<T, width>& g, const Pack<T, width>& x, const Channels<width>& c,
                                             bool relu, const float (&mean_g)[width], const float (&slope)[width]) {
  Pack<T, width> of_x;
  for (int i = 0; i < width; ++i) {
    const auto value = static_cast<float>(x.values[i]);
    auto gradient = static_cast<float>(g.values[i]);
    if (relu && before_relu(value, c.mean[i], c.scale[i], c.bias[i], 0.0F) <= 0.0F) gradient = 0.0F;
    of_x.values[i] = static_cast<T>(input_gradient(gradient, value, c.mean[i], c.scale[i], mean_g[i], slope[i]));
  }
  return of_x;
}

// The order in which the samples and places of a group with keys are visited. A step takes `samples_at_once` samples at
// one place of the picture, so that each number of a basis is read once for all of them. It takes a few neighbouring
// places of all samples, then the next places. Neighbouring threads then read neighbouring memory and share the basis.
// Steps beyond the last place do nothing.
struct KeyedWalk {
  std::int64_t samples = 0, places = 0;  // counts of the group
  std::int64_t places_at_once = 8, samples_at_once = 4;

  SPANKEY_HOST_DEVICE std::int64_t sets() const { return (samples + samples_at_once - 1) / samples_at_once; }
  SPANKEY_HOST_DEVICE std::int64_t steps() const {
    return (places + places_at_once - 1) / places_at_once * places_at_once * sets();
  }
  SPANKEY_HOST_DEVICE std::int64_t first_sample(std::int64_t step) const {
    return step / places_at_once % sets() * samples_at_once;
  }
  SPANKEY_HOST_DEVICE std::int64_t place(std::int64_t step) const {
    return step / (places_at_once * sets()) * places_at_once + step % places_at_once;
  }
};

}  // namespace spankey::batch_norm
