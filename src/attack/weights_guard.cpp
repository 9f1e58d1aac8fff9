#include "attack/weights_guard.h"

#include <ATen/ATen.h>

namespace spankey {

WeightsGuard::WeightsGuard(Model& model, std::vector<at::Tensor> leaves) : leaves_(std::move(leaves)) {
  for (const auto& tensor : model.parameters()) kept_.emplace_back(tensor, tensor.detach().clone());
  for (const auto& tensor : model.buffers()) kept_.emplace_back(tensor, tensor.clone());
  for (const auto& leaf : leaves_) leaf.requires_grad_(true);
}

WeightsGuard::~WeightsGuard() {
  const at::NoGradGuard no_grad;
  for (const auto& leaf : leaves_) leaf.requires_grad_(false);
  for (auto& [tensor, copy] : kept_) tensor.copy_(copy);
}

}  // namespace spankey
