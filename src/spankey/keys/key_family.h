// Families of wrong keys: ways to be wrong, from noise to near misses. A family is one function
// (key_draws.h has what it is made with) and one line of the registry, config/key_families.inc. Each draws a key slot
// by slot (key_rules.h); where a key lies in the span or beside a valid key is meant of the whole slot, of which a
// narrower layer sees a part. All are rescaled to the target afterwards.
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
  std::int64_t slot;        // of the key
  std::int64_t alpha_slot;  // of its coefficients
  at::Tensor alpha;         // (m) float32, coefficients of a valid key
  at::Tensor gauss;         // (d) float32, standard normal
  StreamId id;              // of this key's further draws; `layer` is free
  std::uint64_t number;     // of this key: families that go through a list count with it
};

struct KeyFamily {
  std::string_view name;
  at::Tensor (*draw)(const FamilyInputs&);  // (d), float32 or float64, before the rescale
  double (*norm)(const FamilyInputs&);      // multiplies the key after the rescale; null: 1
};

// Case does not matter. `asked`: where the name was written, for the Error(bad_input) of find_named().
const KeyFamily& find_key_family(std::string_view name, std::string_view asked = "family of wrong keys");
std::vector<std::string> key_family_names();

// The family of plain noise, which training denies unless told otherwise.
const KeyFamily& gaussian_family();

}  // namespace spankey
