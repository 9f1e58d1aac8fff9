#include "spankey/keys/key_draws.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/portable_math.h"
#include "config/config.h"
#include "spankey/keys/basis.h"

namespace spankey::key_families {

StreamId stream_of(const FamilyInputs& in, Draw draw, std::int64_t slot) {
  StreamId id = in.id;
  id.layer = static_cast<std::uint32_t>(slot) * draws + draw;
  return id;
}

double inner_product(const at::Tensor& a, const at::Tensor& b) {
  const double* x = a.const_data_ptr<double>();
  const double* y = b.const_data_ptr<double>();
  double sum = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) sum += x[i] * y[i];
  return sum;
}

at::Tensor combine(const at::Tensor& alpha, const at::Tensor& basis) {
  const at::Tensor coefficients = alpha.to(at::kDouble).contiguous(), rows = basis.to(at::kFloat).contiguous();
  const std::int64_t m = rows.size(0), d = rows.size(1);
  SPANKEY_CHECK_EQ(coefficients.numel(), m);
  at::Tensor key = at::zeros({d}, at::kDouble);
  double* k = key.mutable_data_ptr<double>();
  const double* a = coefficients.const_data_ptr<double>();
  const float* b = rows.const_data_ptr<float>();
  for (std::int64_t q = 0; q < m; ++q)
    for (std::int64_t c = 0; c < d; ++c) k[c] += a[q] * static_cast<double>(b[q * d + c]);
  return key;
}

at::Tensor valid_key(const FamilyInputs& in) {
  return combine(in.alpha, in.rules.slot_basis(in.slot));
}

at::Tensor coefficients(const FamilyInputs& in, AlphaLaw law) {
  at::Tensor alpha = at::empty({in.config.m}, at::kFloat);
  AlphaDraw(law, in.config.m, 0)(stream_of(in, draw_coefficients, in.alpha_slot),
                                 {alpha.mutable_data_ptr<float>(), static_cast<std::size_t>(in.config.m)});
  return alpha;
}

at::Tensor gaussian(const FamilyInputs& in) {
  return in.gauss;
}

// Gaussian minus its projection on the span of the basis.
at::Tensor orth_complement(const FamilyInputs& in) {
  at::Tensor key = in.gauss.to(at::kDouble);
  const at::Tensor rows = orthonormal_rows(in.rules.slot_basis(in.slot).to(at::kDouble));
  for (std::int64_t q = 0; q < rows.size(0); ++q) key = key - inner_product(rows[q], key) * rows[q];
  return key;
}

// alpha B' with a basis B' of another seed, another one for each key.
at::Tensor other_basis(const FamilyInputs& in) {
  const auto words = Stream(stream_of(in, draw_seed, 0)).block(0);
  const std::uint64_t seed = static_cast<std::uint64_t>(words[0]) << 32 | words[1];
  std::vector<std::int64_t> dims;
  for (std::int64_t layer = 0; layer < in.rules.layer_count(); ++layer) dims.push_back(in.rules.layer_width(layer));
  return combine(in.alpha, in.rules.slot_basis(in.slot, make_basis(in.config, dims, seed).layers));
}

at::Tensor negated(const FamilyInputs& in) {
  return -valid_key(in);
}

// A valid key with its coordinates in another order.
at::Tensor permuted(const FamilyInputs& in) {
  const at::Tensor key = valid_key(in);
  at::Tensor result = at::empty_like(key);
  const auto order = permutation(stream_of(in, draw_own, in.slot), key.numel());
  for (std::int64_t i = 0; i < key.numel(); ++i)
    result.mutable_data_ptr<double>()[i] = key.const_data_ptr<double>()[order[static_cast<std::size_t>(i)]];
  return result;
}

// alpha = e_j, one j after the other.
at::Tensor one_hot(const FamilyInputs& in) {
  const auto row = static_cast<std::int64_t>(in.number % static_cast<std::uint64_t>(in.config.m));
  return in.rules.slot_basis(in.slot)[row].to(at::kDouble);
}

at::Tensor alpha_normal(const FamilyInputs& in) {
  return combine(coefficients(in, AlphaLaw::gauss), in.rules.slot_basis(in.slot));
}

at::Tensor alpha_u11(const FamilyInputs& in) {
  return combine(coefficients(in, AlphaLaw::u11), in.rules.slot_basis(in.slot));
}

double scaled_norm(const FamilyInputs& in) {
  constexpr std::array<double, 5> norms = {0.1, 0.25, 0.5, 2.0, 4.0};
  return norms[in.number % norms.size()];
}

at::Tensor beside_valid(const FamilyInputs& in, double cosine) {
  at::Tensor along = valid_key(in);
  along = along / std::sqrt(inner_product(along, along));
  at::Tensor across = in.gauss.to(at::kDouble);
  across = across - inner_product(across, along) * along;
  return cosine * along + (std::sqrt(1 - cosine * cosine) / std::sqrt(inner_product(across, across))) * across;
}

at::Tensor interpolated(const FamilyInputs& in) {
  return beside_valid(in, 0.5);
}

// The cosine is uniform on [0, 0.7). Training uses these keys, which are nearer than noise and must still be denied.
at::Tensor near_miss(const FamilyInputs& in) {
  return beside_valid(in, 0.7 * Stream(stream_of(in, draw_common, 0)).uniform_double(0));
}

at::Tensor constant(const FamilyInputs& in) {
  return at::ones_like(in.gauss);
}

// Cosines of 1 to 8 periods over the flat index, of random phases.
at::Tensor low_frequency(const FamilyInputs& in) {
  constexpr int waves = 8;
  const std::int64_t d = in.gauss.numel();
  std::array<double, waves> phases;
  Stream(stream_of(in, draw_own, in.slot)).fill_uniform(std::span<double>(phases));
  at::Tensor key = at::zeros({d}, at::kDouble);
  double* k = key.mutable_data_ptr<double>();
  for (int wave = 0; wave < waves; ++wave) {
    for (std::int64_t i = 0; i < d; ++i) {
      const double turns = static_cast<double>((wave + 1) * i) / static_cast<double>(d) + phases[wave];
      float sine, cosine;
      portable::sincos_2pi(static_cast<float>(turns - std::floor(turns)), sine, cosine);
      k[i] += static_cast<double>(cosine);
    }
  }
  return key;
}

// Gaussian on 1 % of the coordinates, at least one.
at::Tensor sparse(const FamilyInputs& in) {
  const std::int64_t d = in.gauss.numel(), count = std::max<std::int64_t>(1, (d + 50) / 100);
  const auto order = permutation(stream_of(in, draw_own, in.slot), d);
  at::Tensor key = at::zeros_like(in.gauss);
  for (std::int64_t i = 0; i < count; ++i)
    key.mutable_data_ptr<float>()[order[static_cast<std::size_t>(i)]] = in.gauss.const_data_ptr<float>()[i];
  return key;
}

}  // namespace spankey::key_families
