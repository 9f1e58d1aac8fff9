#include "keyring/fingerprint.h"

#include <ATen/ATen.h>

#include <cmath>

#include "base/error.h"
#include "base/stream.h"
#include "keyring/sealing.h"
#include "spankey/keys/key_draws.h"

namespace spankey {
namespace {

double dot(const double* a, const double* b, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void normalise(std::span<double> vector) {
  const double norm = std::sqrt(dot(vector.data(), vector.data(), vector.size()));
  for (double& value : vector) value /= norm;
}

std::span<double> values_of(at::Tensor& vector) {
  return {vector.mutable_data_ptr<double>(), static_cast<std::size_t>(vector.numel())};
}

// A random direction outside the span needs a few dimensions to be random in.
void require_room(std::int64_t m, std::int64_t width, std::int64_t point) {
  constexpr std::int64_t least = 8;
  if (width < m + least)
    fail_input(
        "key.m = {}: injection point {} has {} elements, no room for a fingerprint outside the span of the basis; "
        "accepted: at least {}",
        m, point, width, m + least);
}

}  // namespace

FingerprintSeed derive_fingerprint_seed(const SecretBytes& master, std::uint64_t serial) {
  const auto derived = derived_key(master, serial, "fingerpr");
  // Little-endian on every machine.
  const auto number = [&](std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = 8; i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(derived.bytes()[at + i]);
    return value;
  };
  return {number(0), number(8)};
}

std::vector<double> remove_span(const at::Tensor& span, std::span<double> vector) {
  SPANKEY_CHECK_EQ(span.size(1), static_cast<std::int64_t>(vector.size()));
  std::vector<double> coefficients;
  for (std::int64_t q = 0; q < span.size(0); ++q) {
    const double* row = span.const_data_ptr<double>() + q * span.size(1);
    coefficients.push_back(dot(row, vector.data(), vector.size()));
    for (std::size_t i = 0; i < vector.size(); ++i) vector[i] -= coefficients.back() * row[i];
  }
  return coefficients;
}

void draw_fingerprint(const FingerprintSeed& seed, std::int64_t slot, const at::Tensor& span, std::span<double> out) {
  std::vector<float> draws(out.size());
  Stream({.seed = seed.seed,
          .purpose = Purpose::fingerprint,
          .sample = seed.stream,
          .layer = static_cast<std::uint32_t>(slot)})
      .fill_normal(draws);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<double>(draws[i]);
  remove_span(span, out);
  normalise(out);
}

KeyIssuer::KeyIssuer(const KeyConfig& config, Compat compat, const Basis& basis, double phi)
    : rules_(config, compat, basis), m_(config.m), phi_(phi) {
  SPANKEY_CHECK(phi >= 0 && phi < 1);
  for (std::int64_t site = 0; site < rules_.layer_count(); ++site)
    require_room(m_, rules_.layer_width(site), config.layers[static_cast<std::size_t>(site)]);
  for (const LayerBasis& site : rules_.bases())
    spans_.push_back(orthonormal_rows(secret_copy(site.flat(), at::kDouble)));
  for (std::int64_t slot = 0; slot < rules_.key_slots(); ++slot) {
    slot_bases_.push_back(secret_copy(rules_.slot_basis(slot), at::kFloat));
    slot_spans_.push_back(orthonormal_rows(secret_copy(slot_bases_.back(), at::kDouble)));
  }
}

at::Tensor KeyIssuer::slot_fingerprint(const FingerprintSeed& seed, std::int64_t slot) const {
  const at::Tensor& span = slot_spans_[static_cast<std::size_t>(slot)];
  at::Tensor fingerprint = at::empty({1, span.size(1)}, at::kDouble);
  draw_fingerprint(seed, slot, span, values_of(fingerprint));
  return fingerprint;
}

std::vector<at::Tensor> KeyIssuer::key(const std::vector<at::Tensor>& alphas, const FingerprintSeed& seed) const {
  SPANKEY_CHECK_EQ(static_cast<std::int64_t>(alphas.size()), alpha_slots());
  std::vector<at::Tensor> slots, rows;
  for (std::int64_t slot = 0; slot < rules_.key_slots(); ++slot) {
    const at::Tensor& alpha = alphas[static_cast<std::size_t>(rules_.slot_of(slot, alphas.size()))];
    const at::Tensor valid = key_families::combine(alpha, slot_bases_[static_cast<std::size_t>(slot)]);
    const double norm = std::sqrt(key_families::inner_product(valid, valid));
    slots.push_back(std::sqrt(1 - phi_) * valid + std::sqrt(phi_) * norm * slot_fingerprint(seed, slot)[0]);
  }
  for (const at::Tensor& alpha : alphas) rows.push_back(alpha.reshape({1, m_}));
  std::vector<double> valid_std;
  if (rules_.wrong_follows_valid()) valid_std = rules_.valid_std(rows);
  // The fingerprint puts the key outside the span. It is rescaled as any key is that was not drawn as alpha B.
  std::vector<at::Tensor> sites = rules_.wrong_keys(slots, /*rows=*/1, valid_std);
  for (at::Tensor& site : sites) site = site[0].to(at::kFloat);
  return sites;
}

std::vector<at::Tensor> KeyIssuer::fingerprint(const FingerprintSeed& seed) const {
  std::vector<at::Tensor> slots;
  for (std::int64_t slot = 0; slot < rules_.key_slots(); ++slot) slots.push_back(slot_fingerprint(seed, slot));
  std::vector<at::Tensor> sites = rules_.layer_keys(slots);
  for (std::size_t site = 0; site < sites.size(); ++site) {
    // A narrower site has a part of the slot, and that part has a share in the span of its own basis.
    sites[site] = sites[site][0].clone();
    remove_span(spans_[site], values_of(sites[site]));
    normalise(values_of(sites[site]));
  }
  return sites;
}

at::Tensor KeyIssuer::coefficients(std::size_t site, const at::Tensor& key) const {
  const at::Tensor basis = rules_.bases()[site].flat().to(at::kDouble);
  const at::Tensor products = basis.matmul(basis.t());
  return at::linalg_solve(products, basis.mv(key.to(at::kDouble)));
}

}  // namespace spankey
