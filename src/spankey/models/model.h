// The base class of every network that takes keys.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/enums.h"
#include "spankey/keys/injection.h"

namespace spankey {

struct Output {
  at::Tensor logits;    // (n, classes), or (n, classes + 1) with the reject class last
  at::Tensor features;  // (n, ...) input of the last linear layer, not flattened
  at::Tensor reject;    // (n) logit of the reject head, undefined without one
};

struct ModelOptions {
  std::vector<std::int64_t> sample_shape;  // (C, H, W) or (D)
  std::int64_t classes = 10;
  bool reject_class = false;
  bool reject_head = false;
  bool deny_statistics = false;  // BatchNorm layers have buffers for the statistics of denied passes
  Precision precision = Precision::float32;

  std::int64_t outputs() const { return classes + (reject_class ? 1 : 0); }
};

// The law of the elements of a parameter before training.
struct InitialLaw {
  enum class Shape { constant, uniform, normal };
  Shape shape;
  double scale;  // the constant, the bound (uniform on +- scale), or the standard deviation
};

class Model : public torch::nn::Module {
 public:
  using Parameters = torch::OrderedDict<std::string, at::Tensor>;

  // `x` is a batch (n, ...). Injection::none() is the pass without a key. The output has the type and the device of
  // `x`, whatever the precision inside and wherever the weights are.
  Output forward(const at::Tensor& x, const Injection& injection);

  virtual std::vector<InjectionPoint> injection_points() const = 0;

  // True where one sample's output depends on the others of its batch (BatchNorm). Such passes may not be stacked.
  virtual bool couples_samples() const { return false; }

  // PyTorch's default law. Weights and biases are uniform on +-1/sqrt(fan_in), and normalisations are 1 and 0.
  virtual InitialLaw initial_law(const std::string& name, const Parameters& parameters) const;

  // Under bf16, convolutions and matrix products read and write bfloat16. Weights, gradients, keys and the statistics
  // of normalisations stay float32 (precision.h).
  void set_precision(Precision precision) { precision_ = precision; }

  // Moves the weights. Batches from another device travel there, and their outputs and gradients back.
  void move_to(at::Device device);

 private:
  virtual Output compute(const at::Tensor& x, const Injection& injection) = 0;

  Precision precision_ = Precision::float32;
  at::Device device_ = at::kCPU;  // of the weights
};

// Draws each parameter from its initial_law with a counter-based stream, whose layer is the parameter's index in
// registration order.
void initialise(Model& model, std::uint64_t seed);

}  // namespace spankey
