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

bool takes(const NetworkFacts& network, std::span<const std::int64_t> sample_shape) {
  const auto wanted = network.sample.all();
  return std::equal(wanted.begin(), wanted.end(), sample_shape.begin(), sample_shape.end(),
                    [](auto want, auto have) { return want == 0 || want == have; });
}

std::string shape_text(const NetworkFacts& network) {
  const auto shape = network.sample.all();
  return shape[0] == 0 ? "D" : fmt::format("{}", fmt::join(shape, ", "));
}

bool same_name(std::string_view a, std::string_view b) {
  return lower_case(a) == lower_case(b);
}

void fail_unknown_name(std::string_view asked, std::string_view name, std::span<const std::string_view> names) {
  fail_input("{} {}: accepted: {}{}", asked, shown(value_text(std::string(name))), alternatives(names),
             did_you_mean(nearest(name, std::vector<std::string>(names.begin(), names.end()))));
}

}  // namespace spankey
