// The keys that an owner issues. Each carries a unit direction f of its own outside the span of the basis, by which a
// key that turns up elsewhere is traced to its holder (trace.h):
//   k = rescale( sqrt(1 - phi) v / |v| + sqrt(phi) f ),   v = alpha B.
// The network was trained without f, and barely notices a small phi. f is spread over all coordinates, as Gaussian
// fingerprints are (Cox et al., IEEE Trans. Image Processing 6 (1997)).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "config/config.h"
#include "keyring/secret_bytes.h"
#include "spankey/keys/basis.h"
#include "spankey/keys/key_rules.h"

namespace spankey {

// Names the random numbers of one user's fingerprint.
struct FingerprintSeed {
  std::uint64_t seed = 0, stream = 0;
};

// Derives the seed of the user with this serial from the owner's master secret (32 bytes). Whoever lacks the master
// secret cannot tell it from random numbers.
FingerprintSeed derive_fingerprint_seed(const SecretBytes& master, std::uint64_t serial);

// Fills `out` with a random unit vector that is orthogonal to the rows of `span`, (m, d) orthonormal float64, with d =
// out.size() > m. It is a function of the arguments alone.
void draw_fingerprint(const FingerprintSeed& seed, std::int64_t slot, const at::Tensor& span, std::span<double> out);

// Subtracts the projection of `vector` (d) on the rows of `span`, (m, d) orthonormal float64, and returns the
// coefficients (m) of that projection.
std::vector<double> remove_span(const at::Tensor& span, std::span<double> vector);

// Makes issued keys, and knows the space they lie in. A site is an injection point that takes a key. Slots are as in
// spankey/keys/key_rules.h.
class KeyIssuer {
 public:
  // 0 <= phi < 1. Throws Error(bad_input) where a site is too narrow for a direction outside
  // the span.
  KeyIssuer(const KeyConfig& config, Compat compat, const Basis& basis, double phi);

  // Returns the key of each site, (d_l) float32. `alphas` has one (m) tensor for each slot of coefficients.
  std::vector<at::Tensor> key(const std::vector<at::Tensor>& alphas, const FingerprintSeed& seed) const;

  // Returns the part of the user's fingerprint at each site that is outside the span of that site's basis, as a unit
  // vector (d_l) of float64.
  std::vector<at::Tensor> fingerprint(const FingerprintSeed& seed) const;

  // Orthonormal rows, (m, d_l) float64, that span the valid keys of each site.
  const std::vector<at::Tensor>& spans() const { return spans_; }

  // Coefficients (m) by which the basis of a site makes the part of `key` (d_l) that lies in the span, `key` B^+.
  at::Tensor coefficients(std::size_t site, const at::Tensor& key) const;

  std::int64_t m() const { return m_; }
  double phi() const { return phi_; }
  std::int64_t alpha_slots() const { return rules_.alpha_slots(); }
  // Position in a list of so many slots (1 or one a site) that belongs to the site.
  std::size_t slot_of(std::size_t site, std::size_t slots) const { return slots == 1 ? 0 : site; }

 private:
  at::Tensor slot_fingerprint(const FingerprintSeed& seed, std::int64_t slot) const;

  KeyRules rules_;
  std::int64_t m_;
  double phi_;
  std::vector<at::Tensor> slot_bases_;  // (m, d) float32, of each slot of keys
  std::vector<at::Tensor> slot_spans_;  // (m, d) float64, orthonormal rows
  std::vector<at::Tensor> spans_;       // (m, d_l) float64, orthonormal rows of each site
};

}  // namespace spankey
