#include "attack/key_attacks/key_shapes.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "spankey/ops/gram.h"

namespace spankey {

at::Tensor widest_key(const std::vector<at::Tensor>& keys) {
  return *std::max_element(keys.begin(), keys.end(),
                           [](const at::Tensor& a, const at::Tensor& b) { return a.size(1) < b.size(1); });
}

std::vector<at::Tensor> prefixes(const KeyEntry& entry, const at::Tensor& vector) {
  std::vector<at::Tensor> keys;
  for (const auto width : entry.widths) keys.push_back(vector.narrow(1, 0, width));
  return keys;
}

at::Tensor of_size(const at::Tensor& key, double std) {
  return key * rescale_factor(expanded_std(key[0], 1), std);
}

}  // namespace spankey
