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

// Moments of both sets of values together (Chan, Golub & LeVeque 1979).
SPANKEY_HOST_DEVICE inline Moments merge(const Moments& a, const Moments& b) {
  if (b.count == 0.0) return a;
  if (a.count == 0.0) return b;
  const double count = a.count + b.count, difference = b.mean - a.mean, part = b.count / count;
  return {count, a.mean + difference * part, a.squares + b.squares + difference * difference * a.count * part};
}

// Sums over the values of a channel that one thread reads. They are sums of the differences from its first value, which
// is near the mean.
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

// Values for the channels of one thread, with scale = weight / deviation.
template <int width>
struct Channels {
  float mean[width], inverse[width], scale[width], bias[width];
};

template <int width>
SPANKEY_HOST_DEVICE Channels<width> channels_of(const float* mean, const float* inverse, const float* weight,
                                                const float* bias) {
  Channels<width> c;
  for (int i = 0; i < width; ++i) {
    c.mean[i] = mean[i];
    c.inverse[i] = inverse[i];
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
// 3).
SPANKEY_HOST_DEVICE inline float input_gradient(float g, float x, float mean, float inverse, float scale, float mean_g,
                                                float mean_g_normal) {
  return (g - mean_g - (x - mean) * inverse * mean_g_normal) * scale;
}

// Where a key enters. `factors` of inject_body for the thread's channels are added or multiplied. Null means no key.
struct Entry {
  const float* factors = nullptr;
  bool adds = false;

  SPANKEY_HOST_DEVICE bool multiplies() const { return factors && !adds; }
};

// `residual` may be null.
template <class T, int width>
SPANKEY_HOST_DEVICE Pack<T, width> load_or_zeros(const T* residual) {
  Pack<T, width> values{};
  if (residual) values = load<T, width>(residual);
  return values;
}

// Computes y of one row, from the thread's first channel on, with the key that follows.
template <class T, int width>
SPANKEY_HOST_DEVICE void forward_row(const T* x, const T* residual, const Channels<width>& c, bool relu,
                                     const Entry& key, T* y) {
  auto values = load<T, width>(x);
  const auto added = load_or_zeros<T, width>(residual);
  for (int i = 0; i < width; ++i) {
    float value = before_relu(static_cast<float>(values.values[i]), c.mean[i], c.scale[i], c.bias[i],
                              static_cast<float>(added.values[i]));
    if (relu && value <= 0.0F) value = 0.0F;  // NaN stays NaN
    if (key.factors) value = key.adds ? value + key.factors[i] : value * key.factors[i];
    values.values[i] = static_cast<T>(value);
  }
  store(y, values);
}

// Adds one row's gradient before the ReLU, and its product with the normal form of x, to the thread's sums. If
// `prepared` is not null, that gradient is stored there, rounded, and the sums take the rounded value.
template <class T, int width>
SPANKEY_HOST_DEVICE void sum_row(const T* g, const T* x, const T* residual, const Channels<width>& c, bool relu,
                                 const Entry& key, float (&sums)[width], float (&products)[width], T* prepared) {
  auto gradients = load<T, width>(g);
  const auto values = load<T, width>(x), added = load_or_zeros<T, width>(residual);
  for (int i = 0; i < width; ++i) {
    const auto value = static_cast<float>(values.values[i]);
    auto gradient = static_cast<float>(gradients.values[i]);
    if (key.multiplies()) gradient *= key.factors[i];
    if (relu && before_relu(value, c.mean[i], c.scale[i], c.bias[i], static_cast<float>(added.values[i])) <= 0.0F)
      gradient = 0.0F;
    gradients.values[i] = static_cast<T>(gradient);
    gradient = static_cast<float>(gradients.values[i]);
    sums[i] += gradient;
    products[i] += gradient * ((value - c.mean[i]) * c.inverse[i]);
  }
  if (prepared) store(prepared, gradients);
}

// Computes d loss / d x of one row. `relu` says that g is not prepared, and that there was neither residual nor key.
// `of_x` may be `g`.
template <class T, int width>
SPANKEY_HOST_DEVICE void input_row(const T* g, const T* x, const Channels<width>& c, bool relu,
                                   const float (&mean_g)[width], const float (&mean_g_normal)[width], T* of_x) {
  const auto gradients = load<T, width>(g);
  auto values = load<T, width>(x);
  for (int i = 0; i < width; ++i) {
    const auto value = static_cast<float>(values.values[i]);
    auto gradient = static_cast<float>(gradients.values[i]);
    if (relu && before_relu(value, c.mean[i], c.scale[i], c.bias[i], 0.0F) <= 0.0F) gradient = 0.0F;
    values.values[i] = static_cast<T>(
        input_gradient(gradient, value, c.mean[i], c.inverse[i], c.scale[i], mean_g[i], mean_g_normal[i]));
  }
  store(of_x, values);
}

// Samples that one thread handles at the same place of the picture when a key enters, so that it reads each number of a
// basis once for all of them.
constexpr int samples_at_once = 4;

// The order in which the samples and places of a group with keys are visited. It takes a few neighbouring places of all
// samples, then the next places. Neighbouring threads then read neighbouring memory and share the basis. Steps beyond
// the last place do nothing.
struct KeyedWalk {
  std::int64_t samples = 0, places = 0;  // counts of the group
  std::int64_t places_at_once = 8;

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
