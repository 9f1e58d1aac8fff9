#include "spankey/models/classifier.h"

#include <ATen/ATen.h>

#include "spankey/models/layer_filter.h"

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
  output.logits = filtered_linear(features, classes_);
  if (!reject_.is_empty()) output.reject = filtered_linear(features, reject_).squeeze(1);
  return output;
}

}  // namespace spankey
