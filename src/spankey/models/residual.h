// The parts that residual networks share, which are the basic block of two 3 x 3 convolutions (He et al., 2016) and a
// stage of such blocks. Parameters are named as in torchvision. Only the name of the shortcut differs between networks.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "spankey/models/batch_norm.h"

namespace spankey {

// A 3 x 3 convolution with padding 1, or a 1 x 1 convolution. It has no bias, because BatchNorm follows.
torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1);

// A convolution "0" and its BatchNorm "1".
class ConvNorm : public torch::nn::Module {
 public:
  ConvNorm(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1);
  at::Tensor forward(const at::Tensor& x) { return norm_->forward(conv_->forward(x)); }
  at::Tensor forward_relu(const at::Tensor& x, const KeyedPoint& key) {
    return norm_->forward_relu(conv_->forward(x), {}, key);
  }

 private:
  torch::nn::Conv2d conv_{nullptr};
  std::shared_ptr<BatchNorm2d> norm_;
};

// Computes relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)). The shortcut is a 1 x 1 convolution with BatchNorm
// where the block changes the shape. `key` enters the result.
class BasicBlock : public torch::nn::Module {
 public:
  BasicBlock(std::int64_t in, std::int64_t out, std::int64_t stride, const std::string& shortcut_name);
  at::Tensor forward(const at::Tensor& x, const KeyedPoint& key);  // (n, in, H, W) -> (n, out, H/stride, W/stride)

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  std::shared_ptr<BatchNorm2d> bn1_, bn2_;
  std::shared_ptr<ConvNorm> shortcut_;
};

// Blocks "0", "1", ... of which the first changes the shape. `key` enters the result of the last.
class ResidualStage : public torch::nn::Module {
 public:
  ResidualStage(std::int64_t in, std::int64_t out, std::int64_t stride, std::int64_t blocks,
                const std::string& shortcut_name);
  at::Tensor forward(at::Tensor x, const KeyedPoint& key = {});

 private:
  std::vector<std::shared_ptr<BasicBlock>> blocks_;
};

}  // namespace spankey
