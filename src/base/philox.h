// The arithmetic of Stream (stream.h) for the CPU and the GPU. Both give the same bits.
#pragma once

#include <Random123/philox.h>

#include <cstdint>

#include "base/portable_math.h"

namespace spankey::philox {

using Words = r123::Philox4x32::ctr_type;  // .v[4]

struct Key {
  std::uint32_t first, second;
};

SPANKEY_HOST_DEVICE inline std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}

SPANKEY_HOST_DEVICE inline std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}

SPANKEY_HOST_DEVICE inline Words words(std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                                       Key key) {
  r123::Philox4x32 generator;
  const Words counter = {{c0, c1, c2, c3}};
  return generator(counter, {{key.first, key.second}});
}

// `purpose` is the number of a Purpose (stream.h).
SPANKEY_HOST_DEVICE inline Key stream_key(std::uint64_t seed, std::uint32_t purpose, std::uint32_t epoch,
                                          std::uint32_t layer) {
  const Words mixed = words(purpose, layer, epoch, 0, {low(seed), high(seed)});
  return {mixed.v[0], mixed.v[1]};
}

// Words 4j .. 4j+3 of a stream.
SPANKEY_HOST_DEVICE inline Words block(Key key, std::uint32_t j, std::uint32_t step, std::uint64_t sample) {
  return words(j, step, low(sample), high(sample), key);
}

// [0, 1), multiples of 2^-24
SPANKEY_HOST_DEVICE inline float uniform(std::uint32_t word) {
  return portable::detail::mul(static_cast<float>(word >> 8), 0x1p-24f);
}

// Four N(0, 1) draws.
SPANKEY_HOST_DEVICE inline void normals(const Words& words, float (&out)[4]) {
  portable::normal_pair(words.v[0], words.v[1], out[0], out[1]);
  portable::normal_pair(words.v[2], words.v[3], out[2], out[3]);
}

}  // namespace spankey::philox
