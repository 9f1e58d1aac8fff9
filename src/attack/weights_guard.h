// Lets an attack change a network. Weights and buffers are put back when the object is destroyed.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "spankey/models/model.h"

namespace spankey {

class WeightsGuard {
 public:
  // Copies all of `model`. Its `leaves` require gradients until the object is destroyed.
  WeightsGuard(Model& model, std::vector<at::Tensor> leaves);
  ~WeightsGuard();
  WeightsGuard(const WeightsGuard&) = delete;
  WeightsGuard& operator=(const WeightsGuard&) = delete;

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;  // tensor, copy
  std::vector<at::Tensor> leaves_;
};

}  // namespace spankey
