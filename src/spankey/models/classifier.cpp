#include "spankey/models/classifier.h"

#include <ATen/ATen.h>

namespace spankey {

void Classifier::register_in(torch::nn::Module& network, const std::string& name, std::int64_t features,
                             const ModelOptions& options) {
  using torch::nn::Linear;
  classes_ = network.register_module(name, Linear(features, options.outputs()));
  if (options.reject_head) reject_ = network.register_module("fc_aux", Linear(features, 1));
}

Output Classifier::forward(const at::Tensor& features) const {
  Output output;
  output.features = features;
  output.logits = at::linear(features, classes_->weight, classes_->bias);
  if (!reject_.is_empty()) output.reject = at::linear(features, reject_->weight, reject_->bias).squeeze(1);
  return output;
}

}  // namespace spankey
