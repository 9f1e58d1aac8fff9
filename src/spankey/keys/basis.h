// The secret basis of m vectors, whose combinations are the valid keys.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/digest.h"
#include "config/config.h"

namespace spankey {

struct Basis {
  std::vector<at::Tensor> layers;  // one secret_matrix for each configured layer, (m, d_l) float32, contiguous
  bool known = true;               // false for unknown_basis()
};

// Returns a basis that stands in where there is no secret. It tells only the widths of the layers. KeyRules refuses to
// make keys of its values.
Basis unknown_basis(std::int64_t m, const std::vector<std::int64_t>& dims);

// Makes the basis, a function of the arguments alone. `dims` holds the widths d_l of the configured layers. The law
// `uniform` draws entries on [-m^-1/2, m^-1/2). `orthonormal` takes orthonormal rows of a Gaussian matrix (float64).
// `cone` takes s_c |g_ic| / sqrt(m) for row i and column c, where g is Gaussian and s a secret sign for each column, so
// that all combinations with coefficients of at least 0 have the same signs. |g| is at least cone_floor.
// Under `shared_prefix` a layer uses the first d_l columns of one basis as wide as the widest layer, under `per_layer`
// a basis of its own. Under `shared_blocks` one basis is as wide as all layers together, and each layer uses its own
// block of columns, in order. (Reference implementation, make_basis.) Throws Error(bad_input) where orthonormal rows do
// not fit into the width.
Basis make_basis(const KeyConfig& config, const std::vector<std::int64_t>& dims, std::uint64_t seed);

// The least |g| of a cone: no entry is 0, whose sign would say nothing. One entry in 1,280 is raised to it.
constexpr float cone_floor = 0x1p-10F;

// Seed of the random numbers of the key space, which is key.seed, or run.seed where that is 0. (A private basis has no
// seed.) The basis has streams of its own, so that following run.seed shares no random numbers with the rest of the
// run.
std::uint64_t key_seed(const KeyConfig& config, std::uint64_t run_seed);

// An uninitialised (m, d) matrix in RAM. Its memory is overwritten with zeros when the last tensor that uses it is
// destroyed.
at::Tensor secret_matrix(std::int64_t m, std::int64_t d, at::ScalarType type = at::kFloat);
// A copy of `matrix` in such memory.
at::Tensor secret_copy(const at::Tensor& matrix, at::ScalarType type);

// SHA-256 over shapes and values.
Digest basis_digest(const Basis& basis);

// Orthonormal rows that span the same space in the same order, float64 (m, d) -> (m, d), m <= d. The bits are the same
// on every machine.
at::Tensor orthonormal_rows(const at::Tensor& matrix);

// The basis of one layer. It caches a copy in the type, on the device and in the element order of each kind of
// activation it has met. Copies of this object share them.
class LayerBasis {
 public:
  explicit LayerBasis(const at::Tensor& basis);  // (m, d), columns in (C, H, W) order
  const at::Tensor& flat() const;

  // Returns the basis as the kernels read it for activation `h`, in the type of h (float32 for bfloat16), on its
  // device, and with columns in the order of h's memory.
  at::Tensor matching(const at::Tensor& h) const;

 private:
  struct Copies;
  std::shared_ptr<Copies> copies_;
};

// True where the elements of a (N, C, H, W) tensor are stored in (H, W, C) order.
bool is_channels_last(const at::Tensor& h);

// Brings rows (rows, C*H*W) from (C, H, W) order into the element order of activation `h`.
at::Tensor in_memory_order(const at::Tensor& rows, const at::Tensor& h);

}  // namespace spankey
