// The operator spankey::batch_norm_act: training-mode batch normalisation of several groups of rows at once, with what
// follows it in a residual network. On the CPU it is LibTorch's operators in their usual order (batch_norm_op.cpp); a
// device module adds fused channels_last kernels (batch_norm_cuda.cu), which a key may enter as well.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "spankey/ops/inject_op.h"

namespace spankey {

constexpr double batch_norm_epsilon = 1e-5;

struct NormalisedBatch {
  at::Tensor y;               // shape and type of x
  at::Tensor mean, variance;  // (groups, C), type of the weight, without gradient; variance unbiased, over n*H*W - 1
};

// x (groups * n, C, H, W), weight and bias (C), residual undefined or of x's shape:
//   y = inject(relu(normal(x) * weight + bias + residual), keys), relu where asked for,
// where each group of n rows is normalised with its own mean and biased variance (Ioffe & Szegedy 2015, algorithm 1).
// Differentiable in x, weight, bias, residual and whole keys. Groups must be of equal size. The keys' bases and columns
// are in the order of y's memory: that of x on the CPU, channels_last on a device.
NormalisedBatch batch_norm_act(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                               const at::Tensor& residual, std::int64_t groups, bool relu,
                               const InjectArguments& keys = {});

}  // namespace spankey
