#include "spankey/models/residual.h"

#include <ATen/ATen.h>

namespace spankey {

torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding((kernel - 1) / 2).bias(false));
}

ConvNorm::ConvNorm(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride) {
  conv_ = register_module("0", convolution(in, out, kernel, stride));
  norm_ = register_module("1", std::make_shared<BatchNorm2d>(out));
}

BasicBlock::BasicBlock(std::int64_t in, std::int64_t out, std::int64_t stride, const std::string& shortcut_name) {
  conv1_ = register_module("conv1", convolution(in, out, 3, stride));
  bn1_ = register_module("bn1", std::make_shared<BatchNorm2d>(out));
  conv2_ = register_module("conv2", convolution(out, out, 3));
  bn2_ = register_module("bn2", std::make_shared<BatchNorm2d>(out));
  if (stride != 1 || in != out)
    shortcut_ = register_module(shortcut_name, std::make_shared<ConvNorm>(in, out, 1, stride));
}

at::Tensor BasicBlock::forward(const at::Tensor& x, const KeyedPoint& key) {
  const at::Tensor h = conv2_->forward(bn1_->forward_relu(conv1_->forward(x)));
  return bn2_->forward_relu(h, shortcut_ ? shortcut_->forward(x) : x, key);
}

ResidualStage::ResidualStage(std::int64_t in, std::int64_t out, std::int64_t stride, std::int64_t blocks,
                             const std::string& shortcut_name) {
  for (std::int64_t i = 0; i < blocks; ++i)
    blocks_.push_back(register_module(
        std::to_string(i), std::make_shared<BasicBlock>(i == 0 ? in : out, out, i == 0 ? stride : 1, shortcut_name)));
}

at::Tensor ResidualStage::forward(at::Tensor x, const KeyedPoint& key) {
  for (const auto& block : blocks_) x = block->forward(x, block == blocks_.back() ? key : KeyedPoint{});
  return x;
}

}  // namespace spankey
