#include "spankey/models/model.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/stream.h"
#include "config/names.h"
#include "spankey/models/batch_norm.h"
#include "spankey/models/precision.h"

namespace spankey {
namespace {

struct Entry {
  std::string_view name;
  std::shared_ptr<Model> (*make)(const ModelOptions&);
};

constexpr auto registry = std::to_array<Entry>({
#define SPANKEY_NETWORK(name, make, sample, widths) {name, make},
#include "config/networks.inc"
#undef SPANKEY_NETWORK
});

// The facts in the registry must equal those that the network itself gives.
void check_facts(const NetworkFacts& facts, const Model& model, std::int64_t sample_size) {
  const auto points = model.injection_points();
  SPANKEY_CHECK_EQ(facts.widths.count, points.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::int64_t width = facts.widths.values[i];
    SPANKEY_CHECK_EQ(width > 0 ? width : sample_size, points[i].size());
  }
}

// The fan-in that the default initialisation of a parameter uses, or 0 for the parameters of normalisations.
std::int64_t fan_in(const std::string& name, const Model::Parameters& parameters) {
  at::Tensor weight = parameters[name];
  if (name.ends_with("bias")) {
    const at::Tensor* sibling = parameters.find(name.substr(0, name.size() - 4) + "weight");
    if (sibling) weight = *sibling;
  }
  return weight.dim() >= 2 ? weight.numel() / weight.size(0) : 0;
}

void draw(const at::Tensor& parameter, const InitialLaw& law, const Stream& stream) {
  if (law.shape == InitialLaw::Shape::constant) {
    parameter.fill_(law.scale);
    return;
  }
  at::Tensor draws = at::empty(parameter.sizes(), at::kFloat);
  const std::span values(draws.mutable_data_ptr<float>(), static_cast<std::size_t>(draws.numel()));
  if (law.shape == InitialLaw::Shape::uniform) {
    stream.fill_uniform(values);
    for (float& value : values) value = static_cast<float>((2.0 * static_cast<double>(value) - 1.0) * law.scale);
  } else {
    stream.fill_normal(values);
    for (float& value : values) value = static_cast<float>(static_cast<double>(value) * law.scale);
  }
  parameter.copy_(draws);
}

Output with_type(const Output& output, at::ScalarType type) {
  const auto convert = [&](const at::Tensor& t) { return t.defined() ? t.to(type) : t; };
  return {convert(output.logits), convert(output.features), convert(output.reject)};
}

}  // namespace

Output Model::forward(const at::Tensor& x, const Injection& injection) {
  if (precision_ == Precision::float32) return compute(x, injection);
  Output output;
  {
    const Bf16Scope scope(x.device().type());
    output = compute(x, injection);
  }
  return with_type(output, x.scalar_type());
}

InitialLaw Model::initial_law(const std::string& name, const Parameters& parameters) const {
  const std::int64_t fan = fan_in(name, parameters);
  if (fan == 0) return {InitialLaw::Shape::constant, name.ends_with("bias") ? 0.0 : 1.0};
  return {InitialLaw::Shape::uniform, 1.0 / std::sqrt(static_cast<double>(fan))};
}

std::shared_ptr<Model> make_model(const std::string& name, const ModelOptions& options) {
  const auto& facts = find_named(network_facts, name, "model.name =");
  const auto& shape = options.sample_shape;
  if (!takes(facts, shape))
    fail_input("{} takes samples of shape ({}), the data have ({})", facts.name, shape_text(facts),
               fmt::join(shape, ", "));
  auto model = find_named(registry, name, "model.name =").make(options);
  check_facts(facts, *model, c10::multiply_integers(shape));
  model->set_precision(options.precision);
  if (options.deny_statistics)
    for (const auto& layer : batch_norms(*model)) layer->keep_deny_statistics();
  return model;
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Entry& entry : registry) names.emplace_back(entry.name);
  return names;
}

void initialise(Model& model, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  const auto parameters = model.named_parameters();
  std::uint32_t index = 0;
  for (const auto& entry : parameters)
    draw(entry.value(), model.initial_law(entry.key(), parameters),
         Stream({.seed = seed, .purpose = Purpose::init, .layer = index++}));
}

}  // namespace spankey
