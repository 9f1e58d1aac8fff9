// How a key enters an activation.
#pragma once

#include <cstdint>

namespace spankey {

constexpr double multiplier_low = 0.1;
constexpr double multiplier_high = 2.0;
constexpr double sym_limit = 0.9;
constexpr double sign_slope = 5.0;  // keys of deviation 0.5 are mostly where tanh is flat

// How h' is formed from activation h and key k, element by element.
enum class InjectMode : std::int64_t {
  add,      // h + gamma k
  clamp,    // h * clamp(1 + gamma tanh k, multiplier_low, multiplier_high)
  exp,      // h * exp(gamma tanh k), the exponent within +-126 ln 2
  sym,      // h * (1 + min(gamma, sym_limit) tanh k)
  sign,     // h * tanh(sign_slope k), whatever gamma
  product,  // h * k, where k is the multiplier itself
};

// The gamma that a mode uses.
inline double effective_gamma(InjectMode mode, double gamma) {
  return mode == InjectMode::sym && gamma > sym_limit ? sym_limit : gamma;
}

}  // namespace spankey
