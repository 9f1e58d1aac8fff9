// What the tests of kernels on the host share.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda_on_host.h"
#include "operators.h"

namespace spankey {

// New memory of LibTorch is NaN, or the largest integer, so that an element that no thread writes is not right by luck.
class KernelsOnHost : public testing::Test {
 protected:
  KernelsOnHost() { at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true); }
  ~KernelsOnHost() override { at::globalContext().setDeterministicAlgorithms(false, /*warn_only=*/false); }
};

// Largest error relative to 1 + |expected|, in float64. A NaN makes it infinite.
inline double largest_error(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return INFINITY;
  const at::Tensor a = actual.detach().to(at::kDouble), e = expected.detach().to(at::kDouble);
  return ((a - e).abs() / (1 + e.abs())).nan_to_num(INFINITY).max().item<double>();
}

// Memory of the given shape and type that begins `offset` elements behind the start of its storage.
inline at::Tensor at_offset(const at::Tensor& values, std::int64_t offset) {
  const at::Tensor dense = values.contiguous();
  at::Tensor place = at::empty({dense.numel() + offset}, dense.options()).narrow(0, offset, dense.numel());
  place = place.view(dense.sizes());
  place.copy_(dense);
  return place;
}

inline std::string no_kernel_left(const std::string& file) {
  std::string names;
  for (const std::string& name : cuda_on_host::kernels_not_run(file)) names += " " + name;
  return names;
}

}  // namespace spankey
