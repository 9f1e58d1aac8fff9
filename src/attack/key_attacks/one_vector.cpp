#include "attack/key_attacks/one_vector.h"

#include <ATen/ATen.h>

#include <algorithm>

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

}  // namespace spankey
