#include "attack/attacks/chosen_weights.h"

#include <ATen/ATen.h>

#include <string>

#include "base/error.h"
#include "spankey/models/batch_norm.h"

namespace spankey {
namespace {

template <class Chosen>
std::vector<at::Tensor> parameters_that(const Model& model, Chosen chosen) {
  std::vector<at::Tensor> found;
  for (const auto& entry : model.named_parameters())
    if (chosen(entry.key(), entry.value())) found.push_back(entry.value());
  return found;
}

}  // namespace

std::vector<at::Tensor> biases(const Model& model) {
  return parameters_that(model, [](const std::string& name, const at::Tensor&) { return name.ends_with(".bias"); });
}

std::vector<at::Tensor> batch_norm_affine(Model& model) {
  std::vector<at::Tensor> found;
  for (const auto& layer : batch_norms(model)) found.insert(found.end(), {layer->weight, layer->bias});
  return found;
}

std::vector<at::Tensor> matrices(const Model& model) {
  return parameters_that(model, [](const std::string& name, const at::Tensor& value) {
    return value.dim() >= 2 && name.ends_with(".weight");
  });
}

std::vector<at::Tensor> last_layer(const Model& model, std::int64_t outputs) {
  std::string layer;
  for (const auto& entry : model.named_parameters())
    if (entry.value().dim() == 2 && entry.value().size(0) == outputs && entry.key().ends_with(".weight"))
      layer = entry.key().substr(0, entry.key().size() - std::string_view("weight").size());
  SPANKEY_CHECK(!layer.empty());
  return parameters_that(model, [&](const std::string& name, const at::Tensor&) {
    return name.starts_with(layer) || name.starts_with("fc_aux.");
  });
}

}  // namespace spankey
