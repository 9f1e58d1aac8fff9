// Example 04's network for 32 x 32 images of three channels: torchvision's ResNet-18 with a 3 x 3 first convolution and
// without the first pooling. Injection points: the input, after relu(bn1), after layer2, layer3 and layer4.
#include <ATen/ATen.h>

#include <array>
#include <cmath>

#include "spankey/models/classifier.h"
#include "spankey/models/registry.h"
#include "spankey/models/residual.h"

namespace spankey {
namespace {

class Resnet18 : public Model {
 public:
  static constexpr std::int64_t side = 32, colours = 3, blocks = 2;
  static constexpr std::array<std::int64_t, 4> channels = {64, 128, 256, 512};
  static constexpr const char* shortcut = "downsample";

  explicit Resnet18(const ModelOptions& options) {
    conv1_ = register_module("conv1", convolution(colours, channels[0], 3));
    bn1_ = register_module("bn1", std::make_shared<BatchNorm2d>(channels[0]));
    for (std::size_t i = 0; i < channels.size(); ++i)
      layers_[i] = register_module("layer" + std::to_string(i + 1),
                                   std::make_shared<ResidualStage>(i == 0 ? channels[0] : channels[i - 1], channels[i],
                                                                   i == 0 ? 1 : 2, blocks, shortcut));
    classifier_.register_in(*this, "fc", channels[3], options);
  }

  std::vector<InjectionPoint> injection_points() const override {
    return {{"input", {colours, side, side}},
            {"stem", {channels[0], side, side}},
            {"layer2", {channels[1], side / 2, side / 2}},
            {"layer3", {channels[2], side / 4, side / 4}},
            {"layer4", {channels[3], side / 8, side / 8}}};
  }

  bool couples_samples() const override { return true; }

  // torchvision: convolutions normal with variance 2 / (out * kernel area), the linear layers as PyTorch has them.
  InitialLaw initial_law(const std::string& name, const Parameters& parameters) const override {
    const at::Tensor& value = parameters[name];
    if (value.dim() != 4) return Model::initial_law(name, parameters);
    const auto fan_out = static_cast<double>(value.numel()) / static_cast<double>(value.size(1));
    return {InitialLaw::Shape::normal, std::sqrt(2.0 / fan_out)};
  }

 private:
  Output compute(const at::Tensor& x, const Injection& injection) override {
    const at::Tensor input = injection.apply(0, x).contiguous(at::MemoryFormat::ChannelsLast);
    at::Tensor h = bn1_->forward_relu(conv1_->forward(input), {}, injection.at(1));
    h = layers_[1]->forward(layers_[0]->forward(h), injection.at(2));
    h = layers_[2]->forward(h, injection.at(3));
    h = layers_[3]->forward(h, injection.at(4));
    return classifier_.forward(h.mean({2, 3}));
  }

  torch::nn::Conv2d conv1_{nullptr};
  std::shared_ptr<BatchNorm2d> bn1_;
  std::array<std::shared_ptr<ResidualStage>, channels.size()> layers_;
  Classifier classifier_;
};

}  // namespace

std::shared_ptr<Model> make_resnet18(const ModelOptions& options) {
  return std::make_shared<Resnet18>(options);
}

}  // namespace spankey
