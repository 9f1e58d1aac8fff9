// Makes the vectors of a user's key from an owner's secret. This is the one part of key files that needs tensors.
#pragma once

#include <cstdint>
#include <vector>

#include "keyring/owner_file.h"
#include "keyring/secret_bytes.h"
#include "spankey/keys/basis.h"
#include "spankey/keys/key_rules.h"

namespace spankey {

// The basis in tensors that are wiped when they are destroyed.
Basis basis_of(const Owner& owner);
// The reverse, for a new owner.
std::vector<SecretBytes> secret_basis(const Basis& basis);

// Coefficients of the key with this serial: float32 (alpha slots, m) by the owner's law. They are a function of master
// secret and serial.
SecretBytes draw_alphas(const Owner& owner, std::uint64_t serial);

// The vectors of a valid key at their full strength, float32, one site after the other. `alphas` as draw_alphas() gives
// them. `rules` are those of the owner's law and basis. A share `owner.phi` of the energy of each slot is the
// fingerprint of `serial`.
SecretBytes key_vectors(const Owner& owner, const KeyRules& rules, const SecretBytes& alphas, std::uint64_t serial);

KeyRules rules_of(const Owner& owner);

}  // namespace spankey
