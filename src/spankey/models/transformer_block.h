// One block of a pre-norm transformer encoder, with the names and details of timm's vision transformer. These are layer
// norm with epsilon 1e-6, one matrix with bias for queries, keys and values, exact GELU, and no dropout.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <cstdint>
#include <memory>

namespace spankey {

torch::nn::LayerNorm layer_norm(std::int64_t width);

class Attention : public torch::nn::Module {
 public:
  Attention(std::int64_t width, std::int64_t heads);
  at::Tensor forward(const at::Tensor& x);  // (n, tokens, width) -> the same

 private:
  std::int64_t heads_;
  torch::nn::Linear qkv_{nullptr}, proj_{nullptr};
};

// width -> 4 width -> width
class FeedForward : public torch::nn::Module {
 public:
  explicit FeedForward(std::int64_t width);
  at::Tensor forward(const at::Tensor& x);

 private:
  torch::nn::Linear fc1_{nullptr}, fc2_{nullptr};
};

// x + attn(norm1(x)), then x + mlp(norm2(x)).
class TransformerBlock : public torch::nn::Module {
 public:
  TransformerBlock(std::int64_t width, std::int64_t heads);
  at::Tensor forward(const at::Tensor& x);  // (n, tokens, width) -> the same

 private:
  torch::nn::LayerNorm norm1_{nullptr}, norm2_{nullptr};
  std::shared_ptr<Attention> attn_;
  std::shared_ptr<FeedForward> mlp_;
};

}  // namespace spankey
