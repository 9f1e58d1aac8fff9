#include "spankey/models/registry.h"

#include <fmt/ranges.h>

#include <array>
#include <string_view>

#include "base/error.h"
#include "config/names.h"
#include "spankey/models/batch_norm.h"

namespace spankey {
namespace {

struct Network {
  std::string_view name;
  std::shared_ptr<Model> (*make)(const ModelOptions&);
};

constexpr auto networks = std::to_array<Network>({
#define SPANKEY_NETWORK(name, make, ...) {name, make},
#include "config/networks.inc"
#undef SPANKEY_NETWORK
});

// What config/networks.inc says of a network and what the network says of itself must be one.
void check_facts(const NetworkFacts& facts, const Model& model, std::int64_t sample_size) {
  const auto points = model.injection_points();
  SPANKEY_CHECK_EQ(facts.widths.count, points.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::int64_t width = facts.widths.values[i];
    SPANKEY_CHECK_EQ(width > 0 ? width : sample_size, points[i].size());
  }
}

}  // namespace

std::shared_ptr<Model> make_model(const std::string& name, const ModelOptions& options) {
  constexpr std::string_view asked = "model.name =";
  const auto& facts = find_named(network_facts, name, asked);
  const auto& shape = options.sample_shape;
  if (!takes(facts, shape))
    fail_input("{} takes samples of shape ({}), the data have ({})", facts.name, shape_text(facts),
               fmt::join(shape, ", "));
  auto model = find_named(networks, name, asked).make(options);
  check_facts(facts, *model, c10::multiply_integers(shape));
  model->set_precision(options.precision);
  if (options.deny_statistics)
    for (const auto& layer : batch_norms(*model)) layer->keep_deny_statistics();
  return model;
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& network : networks) names.emplace_back(network.name);
  return names;
}

}  // namespace spankey
