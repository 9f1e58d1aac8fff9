#include "spankey/models/model.h"

#include <ATen/ATen.h>

#include <cmath>
#include <span>

#include "base/stream.h"
#include "spankey/models/precision.h"

namespace spankey {
namespace {

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

// With the type and on the device of `x`.
Output like(const at::Tensor& x, const Output& output) {
  const auto convert = [&](const at::Tensor& t) { return t.defined() ? t.to(x.device(), x.scalar_type()) : t; };
  return {convert(output.logits), convert(output.features), convert(output.reject)};
}

}  // namespace

void Model::move_to(at::Device device) {
  to(device);
  device_ = device;
}

Output Model::forward(const at::Tensor& x, const Injection& injection) {
  if (x.device() != device_) return like(x, forward(x.to(device_), injection));
  if (precision_ == Precision::float32) return compute(x, injection);
  Output output;
  {
    const Bf16Scope scope(x.device().type());
    output = compute(x, injection);
  }
  return like(x, output);
}

InitialLaw Model::initial_law(const std::string& name, const Parameters& parameters) const {
  const std::int64_t fan = fan_in(name, parameters);
  if (fan == 0) return {InitialLaw::Shape::constant, name.ends_with("bias") ? 0.0 : 1.0};
  return {InitialLaw::Shape::uniform, 1.0 / std::sqrt(static_cast<double>(fan))};
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
