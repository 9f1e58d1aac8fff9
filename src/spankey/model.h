// Networks that take keys. A network is one file and one line of the registry in model.cpp.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "spankey/injection.h"

namespace spankey {

struct Output {
  at::Tensor logits;    // (n, classes), with a reject class (n, classes + 1), reject last
  at::Tensor features;  // (n, ...) what the last linear layer sees, not flattened
  at::Tensor reject;    // (n) logit of the reject head, undefined without one
};

struct ModelOptions {
  std::vector<std::int64_t> sample_shape;  // (C, H, W) or (D)
  std::int64_t classes = 10;
  bool reject_class = false;
  bool reject_head = false;
};

class Model : public torch::nn::Module {
 public:
  // `x`: (n, ...) batch. Injection::none() is the pass without a key.
  virtual Output forward(const at::Tensor& x, const Injection& injection) = 0;
  virtual std::vector<InjectionPoint> injection_points() const = 0;

  // True where one sample's output depends on the others of its batch (BatchNorm): passes may not be stacked.
  virtual bool couples_samples() const { return false; }
};

// Case does not matter. Error(bad_input) names an unknown model or a sample shape that it does not take.
std::shared_ptr<Model> make_model(const std::string& name, const ModelOptions& options);
std::vector<std::string> model_names();

// PyTorch's default law, uniform on +-1/sqrt(fan_in) for weights and biases, from counter-based streams; layer = index
// of the parameter in registration order. Weights of normalisations are 1, their biases 0.
void initialise(Model& model, std::uint64_t seed);

}  // namespace spankey
