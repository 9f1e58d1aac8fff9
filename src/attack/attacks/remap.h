// The table of O2b, by itself so that a test can compare it with a count by hand.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace spankey {

// (classes) int64: for each answer the label that most images with this answer have. An answer that no image has, or
// with several labels alike, keeps its own class. `answers`, `labels`: (n) int64.
at::Tensor majority_table(const at::Tensor& answers, const at::Tensor& labels, std::int64_t classes);

}  // namespace spankey
