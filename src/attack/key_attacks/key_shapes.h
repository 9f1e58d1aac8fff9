// What attacks do to the shape and the size of a key.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "attack/context.h"

namespace spankey {

// The widest of `keys`, (1, d) for each keyed layer.
at::Tensor widest_key(const std::vector<at::Tensor>& keys);

// The keys of the layers, (1, d) each, from one `vector`, (1, widest d). Each layer takes as much of it from the
// beginning as it is wide. Gradients flow through.
std::vector<at::Tensor> prefixes(const KeyEntry& entry, const at::Tensor& vector);

// `key`, (1, d), times what brings the standard deviation of its elements to `std`.
at::Tensor of_size(const at::Tensor& key, double std);

}  // namespace spankey
