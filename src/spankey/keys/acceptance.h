// How near to a valid key a key must be to open a network.
#pragma once

#include <cstdint>
#include <vector>

namespace spankey {

// Accuracy by cosine to a valid key.
struct AcceptanceProfile {
  std::vector<double> cosines;  // ascending
  std::vector<double> accuracy;
};
// Returns the smallest cosine, by linear interpolation, from which on the accuracy stays at half of that of the last
// cosine or more. Returns 0 where it always does.
double half_accept_cosine(const AcceptanceProfile& profile);
// Returns -log2 of the probability that a Gaussian vector in `width` dimensions has that cosine or more to a given
// direction.
double guess_bits(double cosine, std::int64_t width);

}  // namespace spankey
