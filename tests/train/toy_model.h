// Networks small enough to be known in closed form: z = W2 f(inject_1(W1 inject_0(x))), float64.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <utility>
#include <vector>

#include "spankey/models/model.h"

namespace spankey::test {

class ToyModel : public Model {
 public:
  using Activation = std::function<at::Tensor(const at::Tensor&)>;

  // Weights (hidden, inputs) and (outputs, hidden).
  ToyModel(const at::Tensor& first, const at::Tensor& second, Activation activation)
      : first_(register_parameter("first", first)),
        second_(register_parameter("second", second)),
        activation_(std::move(activation)) {}

  std::vector<InjectionPoint> injection_points() const override {
    return {{"input", {first_.size(1)}}, {"hidden", {first_.size(0)}}};
  }

 private:
  Output compute(const at::Tensor& x, const Injection& injection) override {
    const at::Tensor h = at::linear(injection.apply(0, x), first_);
    Output output;
    output.features = activation_(injection.apply(1, h));
    output.logits = at::linear(output.features, second_);
    return output;
  }

  at::Tensor first_, second_;
  Activation activation_;
};

inline at::Tensor identity(const at::Tensor& h) {
  return h;
}

}  // namespace spankey::test
