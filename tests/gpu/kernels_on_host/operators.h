// The CUDA implementations of the project's operators, called with tensors of the host.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DispatchKeySet.h>

#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>

#include "spankey/ops/operator_named.h"

namespace spankey {

template <class Function, class... Arguments>
auto call_cuda(const char* name, Arguments&&... arguments) {
  const auto handle = operator_named<Function>(name);
  return handle.redispatch(c10::DispatchKeySet(c10::DispatchKey::CUDA), std::forward<Arguments>(arguments)...);
}

using OptionalTensor = std::optional<at::Tensor>;

namespace signature {

using FourTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

using Inject = at::Tensor(const at::Tensor&, at::TensorList, at::TensorList, at::IntArrayRef, double, std::int64_t);
using BatchNormForward = FourTensors(const at::Tensor&, const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                                     std::int64_t, bool, at::TensorList, at::TensorList, at::IntArrayRef, double,
                                     std::int64_t);
using BatchNormBackward = FourTensors(const at::Tensor&, const at::Tensor&, const OptionalTensor&, const at::Tensor&,
                                      const at::Tensor&, const at::Tensor&, const at::Tensor&, bool, bool,
                                      at::TensorList, at::TensorList, at::IntArrayRef, double, std::int64_t);
using DrawAlphas = at::Tensor(const at::Tensor&, const at::Tensor&, std::int64_t, std::int64_t, std::int64_t,
                              std::int64_t, std::int64_t);
using DrawBelow = at::Tensor(const at::Tensor&, const at::Tensor&, std::int64_t, std::int64_t, std::int64_t);
using AlphaStd = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, bool);
using ScaleAlphas = at::Tensor(const at::Tensor&, const at::Tensor&, double, std::int64_t, std::int64_t);
using DrawWrongKeys = at::Tensor(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, const at::Tensor&, std::int64_t,
                                 std::int64_t, std::int64_t);
using Assemble = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, std::int64_t,
                            std::int64_t, std::int64_t, double, bool, at::ScalarType);

}  // namespace signature
}  // namespace spankey
