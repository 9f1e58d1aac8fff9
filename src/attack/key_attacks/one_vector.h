// One vector for all keyed layers, each of which takes as much of it from the beginning as it is wide.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "attack/context.h"

namespace spankey {

// The widest of `keys`, (1, d) for each keyed layer.
at::Tensor widest_key(const std::vector<at::Tensor>& keys);

// The keys of the layers, (1, d) each, from `vector`, (1, widest d). Gradients flow through.
std::vector<at::Tensor> prefixes(const KeyEntry& entry, const at::Tensor& vector);

}  // namespace spankey
