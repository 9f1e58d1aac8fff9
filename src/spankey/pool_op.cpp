#include "spankey/pool_op.h"

#include <ATen/ATen.h>
#include <torch/library.h>

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

}  // namespace

at::Tensor relu_max_pool(const at::Tensor& h) {
  static const auto handle = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("spankey::relu_max_pool", "")
                                 .typed<at::Tensor(const at::Tensor&)>();
  return handle.call(h);
}

at::Tensor conv_relu_max_pool(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  static const auto handle = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("spankey::conv_relu_max_pool", "")
                                 .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&)>();
  return handle.call(x, weight, bias);
}

}  // namespace spankey
