// The end of a network. It is one linear layer onto the classes and, where the deny loss needs one, the reject head
// beside it, on the same features.
#pragma once

#include <torch/nn/modules/linear.h>

#include <string>

#include "spankey/models/model.h"

namespace spankey {

class Classifier {
 public:
  // Adds the layers to `network`. They are `name`, with one more row for a reject class, and "fc_aux".
  void register_in(torch::nn::Module& network, const std::string& name, std::int64_t features,
                   const ModelOptions& options);

  Output forward(const at::Tensor& features) const;  // (n, features)

 private:
  torch::nn::Linear classes_{nullptr}, reject_{nullptr};
};

}  // namespace spankey
