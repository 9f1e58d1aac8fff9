// Examples 02 and 05's network for 28 x 28 images of one channel: two 3 x 3 convolutions (16, 32), each with 2 x 2 max
// pooling and ReLU, and one linear layer. Injection points: the input and after either pooling.
#include <ATen/ATen.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "spankey/models/layer_filter.h"
#include "spankey/models/registry.h"
#include "spankey/ops/pool_op.h"

namespace spankey {
namespace {

class SmallCnn : public Model {
 public:
  static constexpr std::int64_t side = 28, channels1 = 16, channels2 = 32;
  static constexpr std::int64_t pooled = side / 4, features = channels2 * pooled * pooled;

  explicit SmallCnn(const ModelOptions& options) {
    using torch::nn::Conv2d, torch::nn::Conv2dOptions, torch::nn::Linear;
    conv1_ = register_module("conv1", Conv2d(Conv2dOptions(1, channels1, 3).padding(1)));
    conv2_ = register_module("conv2", Conv2d(Conv2dOptions(channels1, channels2, 3).padding(1)));
    fc_ = register_module("fc", Linear(features, options.outputs()));
    if (options.reject_head) reject_ = register_module("fc_aux", Linear(features, 1));
  }

  std::vector<InjectionPoint> injection_points() const override {
    return {
        {"input", {1, side, side}}, {"pool1", {channels1, side / 2, side / 2}}, {"pool2", {channels2, pooled, pooled}}};
  }

 private:
  Output compute(const at::Tensor& x, const Injection& injection) override {
    // ReLU after pooling: the same values and gradients on a quarter of the elements.
    at::Tensor h = injection.apply(0, x);
    h = LayerFilter::active() ? relu_max_pool(convolution(h, conv1_))
                              : conv_relu_max_pool(h, conv1_->weight, conv1_->bias);  // (n, 16, 14, 14)
    h = injection.apply(1, h);
    h = relu_max_pool(convolution(h.contiguous(at::MemoryFormat::ChannelsLast), conv2_));
    Output output;
    output.features = injection.apply(2, h);  // (n, 32, 7, 7)
    const at::Tensor rows = output.features.permute({0, 2, 3, 1}).reshape({x.size(0), features});
    output.logits = linear(rows, fc_);
    if (!reject_.is_empty()) output.reject = linear(rows, reject_).squeeze(1);
    return output;
  }

  static at::Tensor convolution(const at::Tensor& h, const torch::nn::Conv2d& layer) {
    return through_filter(layer->weight, layer->bias, at::conv2d(h, layer->weight, layer->bias, 1, 1));
  }

  // `rows` are in (H, W, C) order, which costs nothing; the few weights are brought into it instead.
  static at::Tensor linear(const at::Tensor& rows, const torch::nn::Linear& layer) {
    const at::Tensor weight = layer->weight.view({-1, channels2, pooled, pooled}).permute({0, 2, 3, 1});
    return through_filter(layer->weight, layer->bias, at::linear(rows, weight.reshape({-1, features}), layer->bias));
  }

  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  torch::nn::Linear fc_{nullptr}, reject_{nullptr};
};

}  // namespace

std::shared_ptr<Model> make_small_cnn(const ModelOptions& options) {
  return std::make_shared<SmallCnn>(options);
}

}  // namespace spankey
