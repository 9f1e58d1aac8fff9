// Which feature each column of a layer was trained on, guessed from what both tell about the classes (K11). By itself,
// so that a test can hold it to an order that it knows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace spankey {

// `columns`, `profiles`: (classes, n). Returns for each column the profile that points most in its direction. Each
// profile is taken once, and the longest columns choose first, because they matter most.
std::vector<std::int64_t> match_columns(const at::Tensor& columns, const at::Tensor& profiles);

}  // namespace spankey
