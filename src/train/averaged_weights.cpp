#include "train/averaged_weights.h"

#include <ATen/ATen.h>

#include <string>

namespace spankey {

AveragedWeights::AveragedWeights(double decay, const FlatParameters& parameters, const Model& model)
    : decay_(decay), parameters_(parameters) {
  pairs_.push_back({parameters.weights(), parameters.weights().detach().clone()});
  for (const auto& [name, value] : named_buffers(model)) {
    pairs_.push_back({value, value.detach().clone()});
    buffers_.push_back({name, pairs_.back().average});
  }
}

void AveragedWeights::update() {
  const at::NoGradGuard no_grad;
  for (const auto& [live, average] : pairs_) average.lerp_(live, 1.0 - decay_);
}

void AveragedWeights::exchange() {
  const at::NoGradGuard no_grad;
  for (const auto& [live, average] : pairs_) {
    const at::Tensor trained = live.clone();
    live.copy_(average);
    average.copy_(trained);
  }
  // Steps and evaluations may be on different streams of a device. Reading a number waits for this one.
  parameters_.weights().select(0, 0).item<float>();
}

std::vector<NamedTensor> AveragedWeights::state() const {
  std::vector<NamedTensor> named;
  for (const auto& entry : parameters_.entries())
    named.push_back({std::string(average_prefix) + entry.name, FlatParameters::view(pairs_.front().average, entry)});
  for (const auto& [name, value] : buffers_) named.push_back({std::string(average_prefix) + name, value});
  return named;
}

}  // namespace spankey
