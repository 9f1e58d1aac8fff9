// Convolution, 2 x 2 max pooling and ReLU as the small convolutional networks use them. On the CPU in float32 they are
// fused kernels over channels_last memory (pool_cpu.cpp). Elsewhere they are the composed operators of LibTorch.
#pragma once

#include <ATen/core/Tensor.h>

namespace spankey {

// relu(max_pool2d(h, 2)), (n, C, H, W) -> (n, C, H/2, W/2), with the same values and gradients as max_pool2d(relu(h),
// 2).
at::Tensor relu_max_pool(const at::Tensor& h);

// relu_max_pool of a 3 x 3 convolution with padding 1. Fused for one input channel when `x` needs no gradient.
at::Tensor conv_relu_max_pool(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace spankey
