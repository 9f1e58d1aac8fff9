// A network that was opened from a file or a run, and the key that it is asked with.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "keyring/network_description.h"

namespace spankey {

// What a network answers to n samples, in host memory.
struct GatedAnswers {
  at::Tensor logits;              // (n, classes) float32, of the classes alone
  at::Tensor rejected;            // (n) bool, the answer is "reject"; false where the network cannot reject
  at::Tensor reject_probability;  // (n) float32, undefined where the network cannot reject
};

class GatedNetwork {
 public:
  // `model` was made as `description` says. It is moved to `device` and left in evaluation mode.
  GatedNetwork(NetworkDescription description, std::shared_ptr<Model> model, at::Device device = at::kCPU);

  const NetworkDescription& description() const { return description_; }

  // The key of all samples from here on, float32, one site after the other. It is brought to the strength of training.
  // Error(bad_input) begins with `name` where the key is for other sites than the network's.
  void use_key(const std::vector<KeySite>& sites, std::span<const float> vectors, const std::string& name);
  void use_no_key() { injection_ = Injection::none(); }

  // (n, C, H, W) uint8 -> (n, C, H, W) float32, as the network takes images.
  at::Tensor prepared(const at::Tensor& pixels) const;

  // `x` is (n, ...) float32, prepared() images or features.
  GatedAnswers answer(const at::Tensor& x) const;

 private:
  NetworkDescription description_;
  std::shared_ptr<Model> model_;
  at::Device device_;
  at::Tensor table_;  // of the normalisation; undefined for features
  Injection injection_ = Injection::none();
};

}  // namespace spankey
