#include "config/names.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/config.h"
#include "config/toml_file.h"
#include "config/value.h"

namespace spankey {

Moves moves_at(std::string_view name, std::int64_t point) {
  const auto& all = find_named(network_facts, name, "model.name =").moves;
  SPANKEY_CHECK_LT(point, static_cast<std::int64_t>(all.count));
  return all.values.at(static_cast<std::size_t>(point));
}

bool takes(const NetworkFacts& network, std::span<const std::int64_t> sample_shape) {
  const auto wanted = network.sample.all();
  return std::equal(wanted.begin(), wanted.end(), sample_shape.begin(), sample_shape.end(),
                    [](auto want, auto have) { return want == 0 || want == have; });
}

std::string shape_text(const NetworkFacts& network) {
  const auto shape = network.sample.all();
  return shape[0] == 0 ? "D" : fmt::format("{}", fmt::join(shape, ", "));
}

bool is_derived_family(std::string_view name) {
  struct Family {
    std::string_view name;
    bool derived;
  };
  static constexpr auto families = std::to_array<Family>({
#define SPANKEY_KEY_FAMILY(name, derived, draw, norm) {name, derived},
#include "config/key_families.inc"
#undef SPANKEY_KEY_FAMILY
  });
  return std::any_of(families.begin(), families.end(),
                     [&](const Family& family) { return family.name == name && family.derived; });
}

bool same_name(std::string_view a, std::string_view b) {
  return lower_case(a) == lower_case(b);
}

void fail_unknown_name(std::string_view asked, std::string_view name, std::span<const std::string_view> names) {
  fail_input("{} {}: accepted: {}{}", asked, shown(value_text(std::string(name))), alternatives(names),
             did_you_mean(nearest(name, std::vector<std::string>(names.begin(), names.end()))));
}

}  // namespace spankey
