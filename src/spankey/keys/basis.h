// The secret: m basis vectors whose combinations are the valid keys.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/digest.h"
#include "config/config.h"

namespace spankey {

struct Basis {
  std::vector<at::Tensor> layers;  // one for each configured layer, (m, d_l) float32, contiguous; secret_matrix
};

// `dims`: widths d_l of the configured layers. A function of the arguments alone.
// uniform: entries on [-m^-1/2, m^-1/2); orthonormal: orthonormal rows of a Gaussian matrix (float64). shared_prefix:
// the first d_l columns of one basis as wide as the widest layer; per_layer: one of its own for each layer;
// shared_blocks: one as wide as all layers together, of which each uses its own block of columns, in order.
// (Reference implementation, make_basis.) Error(bad_input) where orthonormal rows do not fit into the width.
Basis make_basis(const KeyConfig& config, const std::vector<std::int64_t>& dims, std::uint64_t seed);

// Seed of what belongs to the key space alone: key.seed, or run.seed where that is 0. (A private basis has no seed.)
// It draws from streams of its own, so following run.seed gives no shared numbers.
std::uint64_t key_seed(const KeyConfig& config, std::uint64_t run_seed);

// Memory that is overwritten with zeros when the last tensor that uses it goes: (m, d) in RAM, uninitialised.
at::Tensor secret_matrix(std::int64_t m, std::int64_t d, at::ScalarType type = at::kFloat);
// A copy of `matrix` in such memory.
at::Tensor secret_copy(const at::Tensor& matrix, at::ScalarType type);

// SHA-256 over shapes and values.
Digest basis_digest(const Basis& basis);

// Orthonormal rows spanning the same space in the same order, float64 (m, d) -> (m, d), m <= d. The same bits on every
// machine.
at::Tensor orthonormal_rows(const at::Tensor& matrix);

// The basis of one layer, with the copies in the type, on the device and in the element order of the activations it
// has met. Copies share them.
class LayerBasis {
 public:
  explicit LayerBasis(const at::Tensor& basis);  // (m, d), columns in (C, H, W) order
  const at::Tensor& flat() const;

  // As the kernels want it for activation `h`: its type (float32 for bfloat16) and device, columns in the order of h's
  // memory.
  at::Tensor matching(const at::Tensor& h) const;

 private:
  struct Copies;
  std::shared_ptr<Copies> copies_;
};

// True where the elements of a (N, C, H, W) tensor lie in (H, W, C) order.
bool is_channels_last(const at::Tensor& h);

// Rows of (rows, C*H*W), in (C, H, W) order, brought into the element order of activation `h`.
at::Tensor in_memory_order(const at::Tensor& rows, const at::Tensor& h);

}  // namespace spankey
