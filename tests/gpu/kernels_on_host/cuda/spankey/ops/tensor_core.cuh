// The host's twin of the header of this name: what the instructions do, as NVIDIA's manual of PTX describes them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>

#include "cuda_on_host.h"

namespace spankey {

inline std::uint32_t tf32_of(float value) {
  return std::bit_cast<std::uint32_t>(0x1.0018p0F * value);
}

inline void multiply_add(const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], float (&c)[4],
                         const std::source_location& where = std::source_location::current()) {
  const std::uint32_t own[] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const std::byte* all = cuda_on_host::exchange(~0U, own, sizeof(own), where);
  const auto number = [&](unsigned lane, unsigned place) {
    std::uint32_t bits;
    std::memcpy(&bits, all + lane * cuda_on_host::most_exchanged_bytes + place * sizeof(bits), sizeof(bits));
    return std::bit_cast<float>(bits & 0xFFFFE000U);
  };
  const unsigned g = cuda_on_host::lane() / 4, t = cuda_on_host::lane() % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned below = i / 2, column = 2 * t + i % 2;
    for (unsigned k = 0; k < 8; ++k)
      c[i] += number(4 * g + k % 4, 2 * (k / 4) + below) * number(4 * column + k % 4, 4 + k / 4);
  }
}

}  // namespace spankey
