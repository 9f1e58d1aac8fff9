// The arithmetic of drawing and rescaling keys, with the same bits on the CPU and the GPU. Sums run in a fixed order,
// and no multiply-add is fused (-ffp-contract=off, -fmad=false).
#pragma once

#include <cmath>
#include <cstdint>

#include "base/philox.h"
#include "base/portable_math.h"
#include "config/enums.h"

namespace spankey::draw_body {

SPANKEY_HOST_DEVICE inline void divide_by(double sum, float* values, std::int64_t m) {
  for (std::int64_t i = 0; i < m; ++i) values[i] = static_cast<float>(static_cast<double>(values[i]) / sum);
}

// Turns raw draws of a stream into coefficients (alpha_law.h). They are normals under `gauss` and `sphere`, and
// uniforms otherwise.
SPANKEY_HOST_DEVICE inline void finish_alpha(AlphaLaw law, float* values, std::int64_t m) {
  double sum = 0;
  if (law == AlphaLaw::u11) {  // U[-1, 1), exactly, in multiples of 2^-23
    for (std::int64_t i = 0; i < m; ++i) values[i] = 2.0F * values[i] - 1.0F;
  } else if (law == AlphaLaw::sphere) {  // a Gaussian vector has no preferred direction
    for (std::int64_t i = 0; i < m; ++i) sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    if (sum > 0)
      divide_by(std::sqrt(sum), values, m);
    else
      values[0] = 1.0F;                   // the stream gives 0 with a probability of 2^-31
  } else if (law == AlphaLaw::simplex) {  // Dirichlet(1, ..., 1) is exponential draws over their sum
    for (std::int64_t i = 0; i < m; ++i) {
      values[i] = -portable::log(1.0F - values[i]);
      sum += static_cast<double>(values[i]);
    }
    if (sum > 0)
      divide_by(sum, values, m);
    else
      values[0] = 1.0F;
  }
}

// The seed and the purpose of one kind of random numbers of a run.
struct Source {
  std::uint64_t seed;
  std::uint32_t purpose;
};

// Draws `begin` .. begin + 3 of a sample's coefficients (m), as far as there are m, before finish_alpha(). `begin` is a
// multiple of 4.
SPANKEY_HOST_DEVICE inline void draw_four(AlphaLaw law, const Source& source, const std::int64_t* position,
                                          std::int64_t sample, std::int64_t slot, std::int64_t begin, float* out,
                                          std::int64_t m) {
  const philox::Key key = philox::stream_key(source.seed, source.purpose, static_cast<std::uint32_t>(position[0]),
                                             static_cast<std::uint32_t>(slot));
  const philox::Words words =
      philox::block(key, static_cast<std::uint32_t>(begin / 4), static_cast<std::uint32_t>(position[1]),
                    static_cast<std::uint64_t>(sample));
  const bool normal = law == AlphaLaw::gauss || law == AlphaLaw::sphere;
  float four[4];
  if (normal) philox::normals(words, four);
  for (int i = 0; i < 4 && begin + i < m; ++i) out[begin + i] = normal ? four[i] : philox::uniform(words.v[i]);
}

// Draws normals 4 block .. 4 block + 3 of the stream of sample 0, as far as there are `d`.
SPANKEY_HOST_DEVICE inline void draw_normals(const Source& source, const std::int64_t* position, std::int64_t slot,
                                             std::int64_t block, float* out, std::int64_t d) {
  const philox::Key key = philox::stream_key(source.seed, source.purpose, static_cast<std::uint32_t>(position[0]),
                                             static_cast<std::uint32_t>(slot));
  float four[4];
  philox::normals(philox::block(key, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(position[1]), 0),
                  four);
  for (std::int64_t i = 0; i < 4 && 4 * block + i < d; ++i) out[4 * block + i] = four[i];
}

// Returns the first integer of the sample's stream, 0 .. bound-1.
SPANKEY_HOST_DEVICE inline std::int64_t draw_below(const Source& source, const std::int64_t* position,
                                                   std::int64_t sample, std::uint32_t bound) {
  const philox::Key key = philox::stream_key(source.seed, source.purpose, static_cast<std::uint32_t>(position[0]), 0);
  const philox::Words words =
      philox::block(key, 0, static_cast<std::uint32_t>(position[1]), static_cast<std::uint64_t>(sample));
  // The high half of (64 random bits) x bound, in two steps that 64 bits hold.
  const std::uint64_t low = (std::uint64_t{words.v[1]} * bound) >> 32;
  return static_cast<std::int64_t>((std::uint64_t{words.v[0]} * bound + low) >> 32);
}

// Returns term i of alpha G alpha^T. `g` is row or column i of the symmetric G, whose elements are `step` apart.
template <class T>
SPANKEY_HOST_DEVICE double gram_term(const double* g, std::int64_t step, const T* alpha, std::int64_t i,
                                     std::int64_t m) {
  double row = 0;
  for (std::int64_t j = 0; j < m; ++j) row += g[j * step] * static_cast<double>(alpha[j]);
  return static_cast<double>(alpha[i]) * row;
}

// Unbiased standard deviation from sum and sum of squares of `count` numbers.
SPANKEY_HOST_DEVICE inline double unbiased_std(double sum, double squares, double count) {
  if (count < 2) return 0.0;
  const double variance = (squares - sum * sum / count) / (count - 1);
  return variance > 0.0 ? std::sqrt(variance) : 0.0;
}

// See gram.h.
SPANKEY_HOST_DEVICE inline double factor_to(double std, double target) {
  return target > 0 ? target / (std + 1e-8) : 1.0;
}

// A coefficient times a factor, rounded once.
SPANKEY_HOST_DEVICE inline float scaled(float alpha, double factor) {
  return static_cast<float>(static_cast<double>(alpha) * factor);
}

// Sums over a key take a fixed number of lanes. Lane l adds elements l, l + lanes, and so on. Then the lanes are added
// in a balanced tree.
constexpr int lanes = 256;

template <class T>
SPANKEY_HOST_DEVICE double lane_sum(const T* key, std::int64_t d, int lane) {
  double sum = 0;
  for (std::int64_t i = lane; i < d; i += lanes) sum += static_cast<double>(key[i]);
  return sum;
}

// The lane's sum of squared differences from `mean`.
template <class T>
SPANKEY_HOST_DEVICE double lane_squares(const T* key, std::int64_t d, double mean, int lane) {
  double sum = 0;
  for (std::int64_t i = lane; i < d; i += lanes) {
    const double difference = static_cast<double>(key[i]) - mean;
    sum += difference * difference;
  }
  return sum;
}

// One step of the tree for half = lanes / 2, ..., 2, 1. Half the lanes add the other half.
SPANKEY_HOST_DEVICE inline void fold_lane(double* sums, int half, int lane) {
  sums[lane] += sums[lane + half];
}

// Unbiased standard deviation of the d numbers of a key, each counted `times` times. `sum` takes a function of the lane
// and returns the sum over all lanes.
template <class Sum, class T>
SPANKEY_HOST_DEVICE double expanded_std(Sum&& sum, const T* key, std::int64_t d, std::int64_t times) {
  const double mean = sum([=](int lane) { return lane_sum(key, d, lane); }) / static_cast<double>(d);
  const double squares = sum([=](int lane) { return lane_squares(key, d, mean, lane); });
  const double count = static_cast<double>(times) * static_cast<double>(d);
  return count < 2 ? 0.0 : std::sqrt(static_cast<double>(times) * squares / (count - 1));
}

// Returns the same standard deviation or, where it is 0, the root mean square.
template <class Sum, class T>
SPANKEY_HOST_DEVICE double key_deviation(Sum&& sum, const T* key, std::int64_t d, std::int64_t times) {
  const double std = expanded_std(sum, key, d, times);
  if (std != 0.0) return std;
  return std::sqrt(sum([=](int lane) { return lane_squares(key, d, 0.0, lane); }) / static_cast<double>(d));
}

}  // namespace spankey::draw_body
