// Example 06's network for 32 x 32 images of three channels: timm's vit_tiny with patches of 4 x 4 (64 tokens and the
// class token), 12 blocks of width 192 with 3 heads. Injection points: after the position embedding and after block 5;
// the class token is keyed like the others.
#include <ATen/ATen.h>
#include <torch/nn/modules/conv.h>

#include "spankey/models/classifier.h"
#include "spankey/models/layer_filter.h"
#include "spankey/models/registry.h"
#include "spankey/models/transformer_block.h"

namespace spankey {
namespace {

class VitTiny : public Model {
 public:
  static constexpr std::int64_t side = 32, colours = 3, patch = 4, width = 192, heads = 3, depth = 12;
  static constexpr std::int64_t tokens = 1 + (side / patch) * (side / patch);
  static constexpr std::int64_t keyed_block = depth / 2 - 1;

  explicit VitTiny(const ModelOptions& options) {
    using torch::nn::Conv2d, torch::nn::Conv2dOptions, torch::nn::Module;
    cls_token_ = register_parameter("cls_token", at::zeros({1, 1, width}));
    pos_embed_ = register_parameter("pos_embed", at::zeros({1, tokens, width}));
    const auto embedding = register_module("patch_embed", std::make_shared<Module>());
    patches_ = embedding->register_module("proj", Conv2d(Conv2dOptions(colours, width, patch).stride(patch)));
    const auto blocks = register_module("blocks", std::make_shared<Module>());
    for (std::int64_t i = 0; i < depth; ++i)
      blocks_.push_back(blocks->register_module(std::to_string(i), std::make_shared<TransformerBlock>(width, heads)));
    norm_ = register_module("norm", layer_norm(width));
    classifier_.register_in(*this, "head", width, options);
  }

  std::vector<InjectionPoint> injection_points() const override {
    return {{"pos_embed", {tokens, width}}, {"block5", {tokens, width}}};
  }

  // timm: matrices and positions normal with deviation 0.02 (its truncation, at 100 deviations, never happens), biases
  // 0, the class token almost 0; the convolution of the patches as PyTorch has it.
  InitialLaw initial_law(const std::string& name, const Parameters& parameters) const override {
    using Shape = InitialLaw::Shape;
    if (name == "cls_token") return {Shape::normal, 1e-6};
    if (name == "pos_embed") return {Shape::normal, 0.02};
    if (name.starts_with("patch_embed.")) return Model::initial_law(name, parameters);
    if (parameters[name].dim() == 2) return {Shape::normal, 0.02};
    return {Shape::constant, name.ends_with("weight") ? 1.0 : 0.0};
  }

 private:
  Output compute(const at::Tensor& x, const Injection& injection) override {
    const at::Tensor patches = through_filter(patches_->weight, patches_->bias, patches_->forward(x));
    const at::Tensor embedded = patches.flatten(2).transpose(1, 2);  // (n, 64, 192)
    at::Tensor h = at::cat({cls_token_.expand({x.size(0), -1, -1}).to(embedded.scalar_type()), embedded}, 1);
    h = injection.apply(0, h + pos_embed_);
    for (std::int64_t i = 0; i < depth; ++i) {
      h = blocks_[static_cast<std::size_t>(i)]->forward(h);
      if (i == keyed_block) h = injection.apply(1, h);
    }
    return classifier_.forward(norm_->forward(h.select(1, 0)));
  }

  at::Tensor cls_token_, pos_embed_;
  torch::nn::Conv2d patches_{nullptr};
  std::vector<std::shared_ptr<TransformerBlock>> blocks_;
  torch::nn::LayerNorm norm_{nullptr};
  Classifier classifier_;
};

}  // namespace

std::shared_ptr<Model> make_vit_tiny(const ModelOptions& options) {
  return std::make_shared<VitTiny>(options);
}

}  // namespace spankey
