// Checks the arguments of injection operators and turns them into what the kernels take. For files of the CUDA module.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdint>

#include "spankey/ops/inject_body.h"

namespace spankey {

// The keys of a part of `rows` rows of `d` elements, see inject().
inline inject_body::KeySource key_source(const at::Tensor& coefficients, const at::Tensor& basis, std::int64_t rows,
                                         std::int64_t d, double gamma, InjectMode mode, at::Device device) {
  inject_body::KeySource source{
      .rows = rows, .d = d, .gamma = static_cast<float>(effective_gamma(mode, gamma)), .mode = mode};
  if (coefficients.numel() == 0) return source;
  const bool has_basis = basis.numel() > 0;
  TORCH_CHECK(coefficients.dim() == 2 && coefficients.is_contiguous() && coefficients.scalar_type() == at::kFloat &&
              coefficients.device() == device);
  TORCH_CHECK(coefficients.size(0) == 1 || coefficients.size(0) == rows);
  TORCH_CHECK(coefficients.size(1) == (has_basis ? basis.size(0) : d));
  if (has_basis)
    TORCH_CHECK(basis.dim() == 2 && basis.size(1) == d && basis.is_contiguous() && basis.scalar_type() == at::kFloat &&
                basis.device() == device);
  source.coefficients = coefficients.const_data_ptr<float>();
  source.basis = has_basis ? basis.const_data_ptr<float>() : nullptr;
  source.m = coefficients.size(1);
  source.stride = coefficients.size(0) == 1 ? 0 : source.m;
  return source;
}

}  // namespace spankey
