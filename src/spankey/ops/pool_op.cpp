#include "spankey/ops/pool_op.h"

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include "spankey/ops/operator_named.h"

namespace spankey {
namespace {

at::Tensor relu_max_pool_composed(const at::Tensor& h) {
  return at::max_pool2d(h, 2).relu();
}

at::Tensor conv_relu_max_pool_composed(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return relu_max_pool(at::conv2d(x, weight, bias, 1, 1));
}

TORCH_LIBRARY_IMPL(spankey, CompositeImplicitAutograd, library) {
  library.impl("relu_max_pool", relu_max_pool_composed);
  library.impl("conv_relu_max_pool", conv_relu_max_pool_composed);
}

// In reduced precision activations come and go as bfloat16; the kernels' arithmetic stays float32, which is faster
// than LibTorch's bfloat16 pooling.
template <class Operator, class... Tensors>
at::Tensor in_float32(Operator&& op, const Tensors&... arguments) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return op(arguments.to(at::kFloat)...).to(at::kBFloat16);
}

at::Tensor relu_max_pool_bf16(const at::Tensor& h) {
  return in_float32(relu_max_pool, h);
}

at::Tensor conv_relu_max_pool_bf16(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return in_float32(conv_relu_max_pool, x, weight, bias);
}

TORCH_LIBRARY_IMPL(spankey, AutocastCPU, library) {
  library.impl("relu_max_pool", relu_max_pool_bf16);
  library.impl("conv_relu_max_pool", conv_relu_max_pool_bf16);
}

}  // namespace

at::Tensor relu_max_pool(const at::Tensor& h) {
  static const auto handle = operator_named<at::Tensor(const at::Tensor&)>("spankey::relu_max_pool");
  return handle.call(h);
}

at::Tensor conv_relu_max_pool(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  static const auto handle = operator_named<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&)>(
      "spankey::conv_relu_max_pool");
  return handle.call(x, weight, bias);
}

}  // namespace spankey
