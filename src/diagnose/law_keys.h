// Draws keys beside those that the network is tried with, because the laws of the keys need more of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "diagnose/diagnosed_run.h"

namespace spankey {

inline constexpr std::int64_t law_keys = 512;

// Measures a key (1, d) of the slot. Returns one row of a table, (columns) or (1), float64.
using KeyMeasure = std::function<at::Tensor(const at::Tensor& key, const KeySlot& slot)>;
using KeyColumns = std::function<std::int64_t(const KeySlot& slot)>;

// Collective. Return measures of `law_keys` valid keys, and of as many wrong ones, (law_keys, columns) for each slot.
std::vector<at::Tensor> over_valid_keys(DiagnoseRun& run, const KeyMeasure& measure, const KeyColumns& columns);
std::vector<at::Tensor> over_wrong_keys(DiagnoseRun& run, const KeyMeasure& measure, const KeyColumns& columns);

}  // namespace spankey
