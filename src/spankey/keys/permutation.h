// Features that change places at some injection points (key.permute), as the signs of a key say.
//
// The signs of a whole key are its bits. For each keyed layer, in the order of key.layers, the SHA-256 takes the width
// d as 8 bytes, little-endian, and then ceil(d / 8) bytes, whose bit i of byte j (bit 0 is the lowest) is set where
// element 8 j + i of the layer's key is below 0. The first 8 bytes of the digest, big-endian, are the seed of Philox.
// At injection point p the features then have the order permutation({seed, Purpose::key_permutation, layer = p},
// features): feature i of h' is feature order[i] of h. All this is the same on every machine, and one flipped sign
// makes another order. There are no more orders than seeds, 2^64.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/names.h"
#include "spankey/keys/basis.h"

namespace spankey {

struct PermutedPoint {
  std::int64_t point;
  Moves moves;
};

// The points of key.permute in the network of the configuration.
std::vector<PermutedPoint> permuted_points(const Config& config);
// Does the same for a network by its name. `points` are injection points that it has.
std::vector<PermutedPoint> permuted_points(const std::string& network, const std::vector<std::int64_t>& points);

// Returns the seed that follows from the signs of a key. `keys` is (n, d_l) for each keyed layer, on any device. All n
// rows must have the same signs, as the valid keys of a cone have.
std::uint64_t sign_seed(const std::vector<at::Tensor>& keys);

// The orders of one key. Copies share what they have made, so that one object may serve many batches and threads.
class Permutation {
 public:
  Permutation(std::uint64_t seed, std::vector<PermutedPoint> points);

  bool at(std::int64_t point) const;

  // Returns the order of the elements of one sample of `h` (n, ...) at a permuted point, (d) int64 on the device of h,
  // counted in the order of h's memory, which is dense. This is what permute_elements() takes.
  at::Tensor order(std::int64_t point, const at::Tensor& h) const;

 private:
  struct Orders;
  std::uint64_t seed_;
  std::vector<PermutedPoint> points_;
  std::shared_ptr<Orders> orders_;
};

// Returns the permutation of a whole key, as sign_seed() takes it. Null where `points` is empty.
std::shared_ptr<const Permutation> permutation_of(const std::vector<at::Tensor>& keys,
                                                  const std::vector<PermutedPoint>& points);
// Returns the permutation of all valid keys of a cone, whose signs are those of the sum of the rows of each basis.
std::shared_ptr<const Permutation> cone_permutation(const std::vector<LayerBasis>& bases,
                                                    const std::vector<PermutedPoint>& points);

}  // namespace spankey
