// Example 01's network: D - 64 - 32 - classes with ReLU between. Injection points: the input and both hidden layers
// before their ReLU.
#include <ATen/ATen.h>
#include <ATen/CPUFunctions.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>

#include <algorithm>
#include <vector>

#include "spankey/models/layer_filter.h"
#include "spankey/models/precision.h"
#include "spankey/models/registry.h"

namespace spankey {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t hidden1 = 64, hidden2 = 32;

// The network is so small that its time is what the dispatcher and autograd take for each operation. Without a key
// behind the input it is therefore one operation, on contiguous float32 matrices of the CPU. The products are those of
// at::linear and its gradient, called below the dispatcher: fused and composed outputs agree bit by bit.

// t.t() of a contiguous matrix, which would be three calls of the dispatcher.
at::Tensor transposed(const at::Tensor& t) {
  return at::cpu::as_strided(t, {t.size(1), t.size(0)}, {1, t.size(1)}, t.storage_offset());
}

// x (n, k), weight (o, k), bias (o) -> (n, o)
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return at::cpu::addmm(bias, x, transposed(weight));
}

at::Tensor linear_relu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  at::Tensor out = linear(x, weight, bias);
  float* h = out.mutable_data_ptr<float>();
  for (std::int64_t i = 0, size = out.numel(); i < size; ++i) h[i] = h[i] < 0 ? 0 : h[i];  // NaN stays, as in at::relu
  return out;
}

// g (n, o) -> column sums (o)
at::Tensor bias_gradient(const at::Tensor& g) {
  const std::int64_t n = g.size(0), o = g.size(1);
  const float* in = g.const_data_ptr<float>();
  std::vector<double> sums(static_cast<std::size_t>(o));
  for (std::int64_t row = 0; row < n; ++row)
    for (std::int64_t c = 0; c < o; ++c) sums[static_cast<std::size_t>(c)] += in[row * o + c];
  at::Tensor out = at::empty({o}, g.options());
  std::copy(sums.begin(), sums.end(), out.mutable_data_ptr<float>());
  return out;
}

// Backward of the ReLU with output `h`, in place.
void close_where_dead(at::Tensor& g, const at::Tensor& h) {
  float* gradient = g.mutable_data_ptr<float>();
  const float* output = h.const_data_ptr<float>();
  for (std::int64_t i = 0, size = g.numel(); i < size; ++i) gradient[i] = output[i] <= 0 ? 0 : gradient[i];
}

// x, then weight and bias of each layer -> logits, second hidden activation. Differentiable once.
class FusedMlp : public torch::autograd::Function<FusedMlp> {
 public:
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight1,
                               const at::Tensor& bias1, const at::Tensor& weight2, const at::Tensor& bias2,
                               const at::Tensor& weight3, const at::Tensor& bias3) {
    at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor h1 = linear_relu(x, weight1, bias1);
    const at::Tensor h2 = linear_relu(h1, weight2, bias2);
    ctx->save_for_backward({x, h1, h2, weight1, weight2, weight3});
    ctx->set_materialize_grads(false);
    return {linear(h2, weight3, bias3), h2};
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView below;
    const variable_list saved = ctx->get_saved_variables();
    variable_list result(7);
    at::Tensor g = gradients[0].defined() ? gradients[0].contiguous() : at::Tensor();
    for (std::size_t layer = 3; layer-- > 0;) {
      const at::Tensor &input = saved[layer], &weight = saved[3 + layer];
      if (g.defined()) {
        if (ctx->needs_input_grad(1 + 2 * layer)) result[1 + 2 * layer] = at::cpu::mm(transposed(g), input);
        if (ctx->needs_input_grad(2 + 2 * layer)) result[2 + 2 * layer] = bias_gradient(g);
        if (layer == 0 && !ctx->needs_input_grad(0)) break;
        g = at::cpu::mm(g, weight);
      }
      if (layer == 2 && gradients[1].defined())
        g = g.defined() ? g.add_(gradients[1]) : gradients[1].clone(at::MemoryFormat::Contiguous);
      if (layer > 0 && g.defined()) close_where_dead(g, input);
      if (layer == 0) result[0] = g;
    }
    return result;
  }
};

class Mlp : public Model {
 public:
  explicit Mlp(const ModelOptions& options) : inputs_(options.sample_shape[0]) {
    using torch::nn::Linear;
    // Named as in the reference, where the ReLUs have numbers too: net.0, net.2, net.4.
    net_ = register_module("net", std::make_shared<torch::nn::Module>());
    in_ = net_->register_module("0", Linear(inputs_, hidden1));
    middle_ = net_->register_module("2", Linear(hidden1, hidden2));
    out_ = net_->register_module("4", Linear(hidden2, options.outputs()));
    if (options.reject_head) reject_ = register_module("fc_aux", Linear(hidden2, 1));
  }

  std::vector<InjectionPoint> injection_points() const override {
    return {{"input", {inputs_}}, {"hidden1", {hidden1}}, {"hidden2", {hidden2}}};
  }

 private:
  Output compute(const at::Tensor& x, const Injection& injection) override {
    Output output;
    const at::Tensor input = injection.apply(0, x);
    if (fusible(input) && !injection.acts_at(1) && !injection.acts_at(2)) {
      const auto outputs = FusedMlp::apply(input.contiguous(), in_->weight, in_->bias, middle_->weight, middle_->bias,
                                           out_->weight, out_->bias);
      output.logits = outputs[0];
      output.features = outputs[1];
    } else {
      at::Tensor h = filtered_linear(input, in_);                  // (n, 64)
      h = filtered_linear(injection.apply(1, h).relu(), middle_);  // (n, 32)
      output.features = injection.apply(2, h).relu();
      output.logits = filtered_linear(output.features, out_);
    }
    if (!reject_.is_empty()) output.reject = filtered_linear(output.features, reject_).squeeze(1);
    return output;
  }

  // Whatever else is no (n, inputs) matrix keeps the error of at::linear.
  bool fusible(const at::Tensor& x) const {
    if (in_bf16_scope() || LayerFilter::active()) return false;
    const auto plain = [](const at::Tensor& t) { return t.is_cpu() && t.scalar_type() == at::kFloat; };
    return plain(x) && x.dim() == 2 && x.size(1) == inputs_ && plain(in_->weight) && in_->weight.is_contiguous() &&
           middle_->weight.is_contiguous() && out_->weight.is_contiguous();
  }

  std::int64_t inputs_;
  std::shared_ptr<torch::nn::Module> net_;
  torch::nn::Linear in_{nullptr}, middle_{nullptr}, out_{nullptr}, reject_{nullptr};
};

}  // namespace

std::shared_ptr<Model> make_mlp(const ModelOptions& options) {
  return std::make_shared<Mlp>(options);
}

}  // namespace spankey
