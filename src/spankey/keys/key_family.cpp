#include "spankey/keys/key_family.h"

#include <array>

#include "config/names.h"
#include "spankey/keys/key_draws.h"

namespace spankey {
namespace {

using key_families::scaled_norm;

constexpr auto families = std::to_array<KeyFamily>({
#define SPANKEY_KEY_FAMILY(name, derived, draw, norm) {name, key_families::draw, norm},
#include "config/key_families.inc"
#undef SPANKEY_KEY_FAMILY
});

}  // namespace

const KeyFamily& find_key_family(std::string_view name, std::string_view asked) {
  return find_named(families, name, asked);
}

std::vector<std::string> key_family_names() {
  std::vector<std::string> names;
  for (const KeyFamily& family : families) names.emplace_back(family.name);
  return names;
}

const KeyFamily& gaussian_family() {
  return families[0];
}

}  // namespace spankey
