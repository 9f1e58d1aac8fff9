// How near to a valid key a key must be to open a network.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "base/statistics.h"

namespace spankey {

// Accuracy by cosine to a valid key.
struct AcceptanceProfile {
  std::vector<double> cosines;  // ascending
  std::vector<double> accuracy;
};

// Returns the smallest cosine, by linear interpolation, from which on the accuracy stays at half of that of the last
// cosine or more. Returns 0 where it always does.
inline double half_accept_cosine(const AcceptanceProfile& profile) {
  SPANKEY_CHECK_EQ(profile.cosines.size(), profile.accuracy.size());
  SPANKEY_CHECK(!profile.cosines.empty());
  const double half = profile.accuracy.back() / 2;
  std::size_t first = profile.accuracy.size() - 1;
  while (first > 0 && profile.accuracy[first - 1] >= half) --first;
  if (first == 0) return 0.0;
  const double below = profile.accuracy[first - 1], above = profile.accuracy[first];
  return profile.cosines[first - 1] +
         (half - below) / (above - below) * (profile.cosines[first] - profile.cosines[first - 1]);
}

// Returns -log2 of the probability that a Gaussian vector in `width` dimensions has that cosine or more to a given
// direction.
inline double guess_bits(double cosine, std::int64_t width) {
  if (cosine <= 0) return 0.0;
  return -log_cosine_tail(static_cast<double>(width), cosine) / std::log(2.0);
}

}  // namespace spankey
