#include "keyring/valid_key.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "spankey/keys/alpha_law.h"

namespace spankey {
namespace {

constexpr char alpha_context[] = "alphadrw";

// A seed of random streams, a function of master secret, number and purpose.
std::uint64_t derived_seed(const Owner& owner, std::uint64_t number, const char (&context)[9]) {
  const auto key = derived_key(owner.master_secret, number, context);
  std::uint64_t seed;
  std::memcpy(&seed, key.bytes().data(), sizeof seed);
  return seed;
}

std::int64_t alpha_slots_of(const Owner& owner) {
  return owner.key.per_layer_key ? std::ssize(owner.sites) : 1;
}

}  // namespace

Basis basis_of(const Owner& owner) {
  Basis basis;
  for (std::size_t i = 0; i < owner.sites.size(); ++i) {
    auto layer = secret_matrix(owner.key.m, owner.sites[i].width);
    std::memcpy(layer.mutable_data_ptr<float>(), owner.basis[i].bytes().data(), owner.basis[i].size());
    basis.layers.push_back(std::move(layer));
  }
  return basis;
}

std::vector<SecretBytes> secret_basis(const Basis& basis) {
  std::vector<SecretBytes> result;
  for (const auto& layer : basis.layers) {
    SPANKEY_CHECK(layer.is_contiguous() && layer.scalar_type() == at::kFloat && layer.is_cpu());
    result.push_back(SecretBytes::copy_of({static_cast<const std::byte*>(layer.const_data_ptr()), layer.nbytes()}));
  }
  return result;
}

SecretBytes draw_alphas(const Owner& owner, std::uint64_t serial, std::uint32_t attempt) {
  const auto m = static_cast<std::size_t>(owner.key.m), slots = static_cast<std::size_t>(alpha_slots_of(owner));
  const AlphaDraw draw(owner.key.alpha, owner.key.m, owner.codebook_seed);
  const auto seed = derived_seed(owner, serial, alpha_context);
  SecretBytes alphas(slots * m * sizeof(float));
  for (std::size_t slot = 0; slot < slots; ++slot)
    draw({.seed = seed, .purpose = Purpose::alpha, .step = attempt, .layer = static_cast<std::uint32_t>(slot)},
         alphas.floats().subspan(slot * m, m));
  return alphas;
}

KeyIssuer issuer_of(const Owner& owner) {
  return KeyIssuer(owner.key, owner.compat, basis_of(owner), owner.phi);
}

SecretBytes key_vectors(const Owner& owner, const KeyIssuer& issuer, const SecretBytes& alphas, std::uint64_t serial) {
  const auto seed = derive_fingerprint_seed(owner.master_secret, serial);
  SecretBytes vectors(static_cast<std::size_t>(key_elements(owner.sites)) * sizeof(float));
  auto rest = vectors.bytes();
  for (const at::Tensor& site : issuer.key(alpha_tensors(owner, alphas), seed)) {
    std::memcpy(rest.data(), site.const_data_ptr(), site.nbytes());
    rest = rest.subspan(site.nbytes());
  }
  return vectors;
}

std::vector<at::Tensor> alpha_tensors(const Owner& owner, const SecretBytes& alphas) {
  const auto m = owner.key.m, slots = alpha_slots_of(owner);
  SPANKEY_CHECK_EQ(alphas.size(), static_cast<std::size_t>(slots * m) * sizeof(float));
  std::vector<at::Tensor> result;
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    auto alpha = secret_matrix(1, m);
    const auto part = alphas.floats().subspan(static_cast<std::size_t>(slot * m), static_cast<std::size_t>(m));
    std::copy(part.begin(), part.end(), alpha.mutable_data_ptr<float>());
    result.push_back(alpha[0]);
  }
  return result;
}

}  // namespace spankey
