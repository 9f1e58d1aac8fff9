// The laws of the coefficients alpha from which a valid key alpha B is made.
//
// Under u01 (the reference's law) all valid keys point nearly the same way, with E cos = 3/4. u11, gauss and sphere
// have mean 0 and no preferred direction.
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
  // `key_seed` is used for the codebook only.
  AlphaDraw(AlphaLaw law, std::int64_t m, std::uint64_t key_seed);

  // Writes the coefficients (m) of one key, a function of the stream alone.
  void operator()(const StreamId& id, std::span<float> out) const;

 private:
  AlphaLaw law_;
  std::vector<float> codebook_;  // (codebook_size, m), empty under the other laws
};

}  // namespace spankey
