// Operators that draw and rescale keys on the device that holds the samples. Their numbers equal those of KeyMaker, bit
// for bit, on every device. They also draw the other integers that a step needs for each sample. `samples` is (n)
// int64, and `position` (2) int64 is the epoch and the step within it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "base/stream.h"
#include "config/enums.h"
#include "spankey/ops/gram.h"

namespace spankey {

// Coefficients (slots, n, m) float32 of each sample, by any law but the codebook.
at::Tensor draw_alphas(const at::Tensor& samples, const at::Tensor& position, AlphaLaw law, std::int64_t m,
                       std::int64_t slots, std::uint64_t seed, Purpose purpose);

// Integers (n) int64 of 0 .. bound-1, one from the stream of each sample, equal to Stream::below(0, bound). bound <
// 2^32.
at::Tensor draw_below(const at::Tensor& samples, const at::Tensor& position, std::int64_t bound, std::uint64_t seed,
                      Purpose purpose);

// Standard deviations of the keys of `alphas`, (slots, n, m) float32 or (1, n, m) for the same in all slots. Returns
// float64, (slots, n) with `each` for each key on its own, or (slots, 1) for all keys of a slot together. `grams` is on
// the device of `alphas`.
at::Tensor alpha_std(const at::Tensor& alphas, const SlotGrams& grams, bool each);

// Rows begin .. end-1 of `alphas` ((slots, n, m), or (1, n, m) for the same in all slots), each brought from its `std`,
// as alpha_std() returns it, to `target`. Returns (slots, end - begin, m).
at::Tensor scale_alphas(const at::Tensor& alphas, const at::Tensor& std, double target, std::int64_t begin,
                        std::int64_t end);

// A key (1, widths[slot]) float32 for each slot, drawn as normals of the stream of sample 0 and that slot. Each is
// brought to the standard deviation target[slot] (float64) that it has when expanded to `repeats` rows. A key without a
// standard deviation is scaled by its root mean square.
std::vector<at::Tensor> draw_wrong_keys(const at::Tensor& position, const std::vector<std::int64_t>& widths,
                                        const at::Tensor& target, std::int64_t repeats, std::uint64_t seed,
                                        Purpose purpose);

}  // namespace spankey
