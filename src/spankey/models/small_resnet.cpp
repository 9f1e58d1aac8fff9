// Example 03's network for 28 x 28 images of one channel: a stem of 32 channels, three residual stages of two blocks
// (32, 64, 128 channels; the last two halve the image), average pooling and one linear layer. Injection points: the
// input, after the stem, after layer2 and after layer3.
#include <ATen/ATen.h>

#include "spankey/models/classifier.h"
#include "spankey/models/registry.h"
#include "spankey/models/residual.h"

namespace spankey {
namespace {

class SmallResnet : public Model {
 public:
  static constexpr std::int64_t side = 28, channels1 = 32, channels2 = 64, channels3 = 128, blocks = 2;
  static constexpr const char* shortcut = "down";

  explicit SmallResnet(const ModelOptions& options) {
    stem_ = register_module("stem", std::make_shared<ConvNorm>(1, channels1, 3));
    layer1_ = register_module("layer1", std::make_shared<ResidualStage>(channels1, channels1, 1, blocks, shortcut));
    layer2_ = register_module("layer2", std::make_shared<ResidualStage>(channels1, channels2, 2, blocks, shortcut));
    layer3_ = register_module("layer3", std::make_shared<ResidualStage>(channels2, channels3, 2, blocks, shortcut));
    classifier_.register_in(*this, "head", channels3, options);
  }

  std::vector<InjectionPoint> injection_points() const override {
    return {{"input", {1, side, side}},
            {"stem", {channels1, side, side}},
            {"layer2", {channels2, side / 2, side / 2}},
            {"layer3", {channels3, side / 4, side / 4}}};
  }

  bool couples_samples() const override { return true; }

 private:
  Output compute(const at::Tensor& x, const Injection& injection) override {
    const at::Tensor input = injection.apply(0, x).contiguous(at::MemoryFormat::ChannelsLast);
    at::Tensor h = stem_->forward_relu(input, injection.at(1));
    h = layer2_->forward(layer1_->forward(h), injection.at(2));
    h = layer3_->forward(h, injection.at(3));
    return classifier_.forward(h.mean({2, 3}));
  }

  std::shared_ptr<ConvNorm> stem_;
  std::shared_ptr<ResidualStage> layer1_, layer2_, layer3_;
  Classifier classifier_;
};

}  // namespace

std::shared_ptr<Model> make_small_resnet(const ModelOptions& options) {
  return std::make_shared<SmallResnet>(options);
}

}  // namespace spankey
