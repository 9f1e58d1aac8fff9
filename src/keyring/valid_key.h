// Makes the vectors of a user's key from an owner's secret. This is the one part of key files that needs tensors.
#pragma once

#include <cstdint>
#include <vector>

#include "keyring/fingerprint.h"
#include "keyring/owner_file.h"
#include "keyring/secret_bytes.h"
#include "spankey/keys/basis.h"

namespace spankey {

// The basis in tensors that are wiped when they are destroyed.
Basis basis_of(const Owner& owner);
// The reverse, for a new owner.
std::vector<SecretBytes> secret_basis(const Basis& basis);

// Coefficients of the key with this serial: float32 (alpha slots, m) by the owner's law. They are a function of master
// secret, serial and `attempt`, which counts the keys that were drawn for the serial and not issued.
SecretBytes draw_alphas(const Owner& owner, std::uint64_t serial, std::uint32_t attempt = 0);

// What makes this owner's keys. Make it once for many keys.
KeyIssuer issuer_of(const Owner& owner);

// The vectors of a key at their full strength, float32, one site after the other. `alphas` as draw_alphas() gives them,
// and `issuer` as issuer_of() does. A share `owner.phi` of the energy of each slot is the fingerprint of `serial`.
SecretBytes key_vectors(const Owner& owner, const KeyIssuer& issuer, const SecretBytes& alphas, std::uint64_t serial);

// Coefficients (m) of each slot in tensors that are wiped when they are destroyed.
std::vector<at::Tensor> alpha_tensors(const Owner& owner, const SecretBytes& alphas);

}  // namespace spankey
