// Families of wrong keys, from noise to near misses. A family is one function (key_draws.h has what it is made with)
// and one line of the registry, config/key_families.inc. Each draws a key slot by slot (key_rules.h). A key that is in
// the span or near a valid key is so as a whole slot, and a narrower layer uses a part of the slot. All keys are
// rescaled to the target afterwards.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/stream.h"
#include "spankey/keys/key_rules.h"

namespace spankey {

struct FamilyInputs {
  const KeyConfig& config;
  const KeyRules& rules;
  std::int64_t slot;        // slot of the key
  std::int64_t alpha_slot;  // slot of its coefficients
  at::Tensor alpha;         // (m) float32, coefficients of a valid key
  at::Tensor gauss;         // (d) float32, standard normal
  StreamId id;              // stream of this key's further draws, with any `layer`
  std::uint64_t number;     // number of this key, for families that go through a list
};

struct KeyFamily {
  std::string_view name;
  at::Tensor (*draw)(const FamilyInputs&);  // (d), float32 or float64, before the rescale
  double (*norm)(const FamilyInputs&);      // multiplies the key after the rescale (null means 1)
};

// Finds a family by name, in any case. `asked` says where the name was written, for the Error(bad_input) of
// find_named().
const KeyFamily& find_key_family(std::string_view name, std::string_view asked = "family of wrong keys");
std::vector<std::string> key_family_names();

// The family of plain noise, which training uses by default.
const KeyFamily& gaussian_family();

}  // namespace spankey
