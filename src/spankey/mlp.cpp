#include "spankey/mlp.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>

#include "base/error.h"

namespace spankey {
namespace {

constexpr std::int64_t hidden1 = 64, hidden2 = 32;

class Mlp : public Model {
 public:
  explicit Mlp(const ModelOptions& options) : inputs_(options.sample_shape[0]) {
    using torch::nn::Linear;
    // Named as in the reference, where the ReLUs have numbers too: net.0, net.2, net.4.
    net_ = register_module("net", std::make_shared<torch::nn::Module>());
    in_ = net_->register_module("0", Linear(inputs_, hidden1));
    middle_ = net_->register_module("2", Linear(hidden1, hidden2));
    out_ = net_->register_module("4", Linear(hidden2, options.classes + (options.reject_class ? 1 : 0)));
    if (options.reject_head) reject_ = register_module("fc_aux", Linear(hidden2, 1));
  }

  Output forward(const at::Tensor& x, const Injection& injection) override {
    at::Tensor h = in_->forward(injection.apply(0, x));  // (n, 64)
    h = middle_->forward(injection.apply(1, h).relu());  // (n, 32)
    Output output;
    output.features = injection.apply(2, h).relu();
    output.logits = out_->forward(output.features);
    if (!reject_.is_empty()) output.reject = reject_->forward(output.features).squeeze(1);
    return output;
  }

  std::vector<InjectionPoint> injection_points() const override {
    return {{"input", {inputs_}}, {"hidden1", {hidden1}}, {"hidden2", {hidden2}}};
  }

 private:
  std::int64_t inputs_;
  std::shared_ptr<torch::nn::Module> net_;
  torch::nn::Linear in_{nullptr}, middle_{nullptr}, out_{nullptr}, reject_{nullptr};
};

}  // namespace

std::shared_ptr<Model> make_mlp(const ModelOptions& options) {
  if (options.sample_shape.size() != 1)
    fail_input("model.name = \"mlp\" takes samples of shape (D); the data have ({})",
               fmt::join(options.sample_shape, ", "));
  return std::make_shared<Mlp>(options);
}

}  // namespace spankey
