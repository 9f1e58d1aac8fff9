// The functions with which families of wrong keys are drawn. Sums are plain loops in float64, so that they have the
// same bits for every number of threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "spankey/keys/alpha_law.h"
#include "spankey/keys/key_family.h"

namespace spankey::key_families {

// Streams of one key, told apart by the layer. Some belong to a slot. The others are shared by all slots of the key.
enum Draw : std::uint32_t { draw_own, draw_coefficients, draw_common, draw_seed, draws };

StreamId stream_of(const FamilyInputs& in, Draw draw, std::int64_t slot);

// Returns the scalar product of two vectors (d) of float64.
double inner_product(const at::Tensor& a, const at::Tensor& b);

// Returns alpha (m) times basis (m, d), which is a key (d) of float64.
at::Tensor combine(const at::Tensor& alpha, const at::Tensor& basis);

// Returns the valid key (d) of these inputs, float64.
at::Tensor valid_key(const FamilyInputs& in);

// Returns fresh coefficients (m) of float32 by a law of alpha.
at::Tensor coefficients(const FamilyInputs& in, AlphaLaw law);

// Returns a unit vector (d) of float64 at `cosine` to the valid key, otherwise of random direction.
at::Tensor beside_valid(const FamilyInputs& in, double cosine);

// Returns the norm of a key of the family "scaled". Each key takes the next one of a short list.
double scaled_norm(const FamilyInputs& in);

// There is one function for each line of the registry.
#define SPANKEY_KEY_FAMILY(name, derived, draw, norm) at::Tensor draw(const FamilyInputs&);
#include "config/key_families.inc"
#undef SPANKEY_KEY_FAMILY

}  // namespace spankey::key_families
