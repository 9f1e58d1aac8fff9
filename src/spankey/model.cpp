#include "spankey/model.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/stream.h"
#include "spankey/mlp.h"
#include "spankey/small_cnn.h"

namespace spankey {
namespace {

struct Entry {
  std::string_view name;
  std::shared_ptr<Model> (*make)(const ModelOptions&);
};

constexpr std::array<Entry, 2> registry = {{
    {"mlp", make_mlp},
    {"small_cnn", make_small_cnn},
}};

// Fan-in that the default initialisation of a parameter goes by; 0 for the parameters of normalisations.
std::int64_t fan_in(const std::string& name, const at::Tensor& value,
                    const torch::OrderedDict<std::string, at::Tensor>& parameters) {
  at::Tensor weight = value;
  if (name.ends_with("bias")) {
    const at::Tensor* sibling = parameters.find(name.substr(0, name.size() - 4) + "weight");
    if (sibling) weight = *sibling;
  }
  return weight.dim() >= 2 ? weight.numel() / weight.size(0) : 0;
}

}  // namespace

std::shared_ptr<Model> make_model(const std::string& name, const ModelOptions& options) {
  std::string lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const Entry& entry : registry)
    if (entry.name == lower) return entry.make(options);
  fail_input("model.name = \"{}\": accepted: {}", name, fmt::join(model_names(), ", "));
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
  for (const auto& entry : parameters) {
    const std::int64_t fan = fan_in(entry.key(), entry.value(), parameters);
    if (fan == 0) {
      entry.value().fill_(entry.key().ends_with("bias") ? 0.0 : 1.0);
    } else {
      at::Tensor draws = at::empty(entry.value().sizes(), at::kFloat);
      const std::span values(draws.mutable_data_ptr<float>(), static_cast<std::size_t>(draws.numel()));
      Stream({.seed = seed, .purpose = Purpose::init, .layer = index}).fill_uniform(values);
      const double bound = 1.0 / std::sqrt(static_cast<double>(fan));
      for (float& value : values) value = static_cast<float>((2.0 * static_cast<double>(value) - 1.0) * bound);
      entry.value().copy_(draws);
    }
    ++index;
  }
}

}  // namespace spankey
