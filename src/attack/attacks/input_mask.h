// One change for all inputs, in the forms of I1.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "attack/fit.h"

namespace spankey {

struct InputChange {
  // "add": x + delta. "mask": x * m. "authority": (1 - m) x + m pattern, with m kept within 0 to 1.
  std::string form;
  // They are delta, or m, or pattern and m. Each has the shape of one sample, (1, C, H, W) or (1, D).
  std::vector<at::Tensor> leaves;

  at::Tensor of(const at::Tensor& x) const;  // (n, ...) -> the same
  at::Tensor penalty() const;                // 1e-3 times the sum of the mask of "authority"; 0 otherwise
};

// Returns the change that changes nothing, bit for bit, which is delta 0, mask 1, or pattern and mask 0. `sample` has
// the shape of one row of a batch.
InputChange no_change(const std::string& form, const at::Tensor& sample);

}  // namespace spankey
