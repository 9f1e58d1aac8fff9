#pragma once

#include <cstddef>

namespace spankey::test {

// Computed, so that the value stands nowhere in a program that uses it.
inline unsigned char known_seed_byte(std::size_t i) {
  static volatile unsigned factor = 151;
  return static_cast<unsigned char>(factor * (i + 3) + (i * i * 29) + 7);
}

}  // namespace spankey::test
