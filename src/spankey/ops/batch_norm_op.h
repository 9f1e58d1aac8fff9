// The operator spankey::batch_norm_act is training-mode batch normalisation of several groups of rows at once, with the
// operations that follow it in a residual network. On the CPU it is LibTorch's operators in their usual order
// (batch_norm_op.cpp). The CUDA module adds fused channels_last kernels (batch_norm_cuda.cu), which can also apply a
// key.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "spankey/ops/inject_op.h"

namespace spankey {

constexpr double batch_norm_epsilon = 1e-5;

struct NormalisedBatch {
  at::Tensor y;               // shape and type of x
  at::Tensor mean, variance;  // (groups, C), type of the weight, no gradient, variance over n*H*W - 1
};

// `x` is (groups * n, C, H, W), `weight` and `bias` are (C), and `residual` is undefined or has x's shape. The result
// is
//   y = inject(relu(normal(x) * weight + bias + residual), keys)
// with relu where asked for. Each group of n rows is normalised with its own mean and biased variance (Ioffe & Szegedy
// 2015, algorithm 1). Differentiable in x, weight, bias, residual and whole keys. Groups must be of equal size. The
// keys' bases and columns are in the order of y's memory, which is that of x on the CPU and channels_last on a device.
NormalisedBatch batch_norm_act(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                               const at::Tensor& residual, std::int64_t groups, bool relu,
                               const InjectArguments& keys = {});

}  // namespace spankey
