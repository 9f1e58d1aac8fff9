#include "spankey/models/transformer_block.h"

#include <ATen/ATen.h>

#include "spankey/models/layer_filter.h"

namespace spankey {

using torch::nn::Linear;

torch::nn::LayerNorm layer_norm(std::int64_t width) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(1e-6));
}

Attention::Attention(std::int64_t width, std::int64_t heads) : heads_(heads) {
  qkv_ = register_module("qkv", Linear(width, 3 * width));
  proj_ = register_module("proj", Linear(width, width));
}

at::Tensor Attention::forward(const at::Tensor& x) {
  const std::int64_t n = x.size(0), tokens = x.size(1), width = x.size(2);
  const at::Tensor qkv = filtered_linear(x, qkv_)
                             .view({n, tokens, 3, heads_, width / heads_})
                             .permute({2, 0, 3, 1, 4});  // (3, n, heads, t, w/h)
  const at::Tensor mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
  return filtered_linear(mixed.transpose(1, 2).reshape({n, tokens, width}), proj_);
}

FeedForward::FeedForward(std::int64_t width) {
  fc1_ = register_module("fc1", Linear(width, 4 * width));
  fc2_ = register_module("fc2", Linear(4 * width, width));
}

at::Tensor FeedForward::forward(const at::Tensor& x) {
  return filtered_linear(at::gelu(filtered_linear(x, fc1_)), fc2_);
}

TransformerBlock::TransformerBlock(std::int64_t width, std::int64_t heads) {
  norm1_ = register_module("norm1", layer_norm(width));
  attn_ = register_module("attn", std::make_shared<Attention>(width, heads));
  norm2_ = register_module("norm2", layer_norm(width));
  mlp_ = register_module("mlp", std::make_shared<FeedForward>(width));
}

at::Tensor TransformerBlock::forward(const at::Tensor& x) {
  const at::Tensor h = x + attn_->forward(norm1_->forward(x));
  return h + mlp_->forward(norm2_->forward(h));
}

}  // namespace spankey
