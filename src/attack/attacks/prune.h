// Magnitude pruning over the whole network.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace spankey {

// Sets the `share` of all elements that are smallest by magnitude to 0, rounded to whole elements and compared across
// the tensors. Of equal ones the earlier go first. Returns how many are left as they were.
std::int64_t prune(const std::vector<at::Tensor>& weights, double share);

}  // namespace spankey
