// The laws of the coefficients alpha: what a valid key alpha B is drawn from.
//
// u01 (the reference's) makes all valid keys nearly one vector: E cos = 3/4. u11, gauss and sphere have mean 0 and no
// direction of their own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/stream.h"
#include "config/enums.h"

namespace spankey {

constexpr std::int64_t codebook_size = 64;

class AlphaDraw {
 public:
  // `key_seed` makes the codebook and nothing else.
  AlphaDraw(AlphaLaw law, std::int64_t m, std::uint64_t key_seed);

  // The coefficients (m) of one key, a function of the stream alone.
  void operator()(const StreamId& id, std::span<float> out) const;

 private:
  AlphaLaw law_;
  std::vector<float> codebook_;  // (codebook_size, m), empty under the other laws
};

}  // namespace spankey
