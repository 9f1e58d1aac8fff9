// Chooses the images that an attacker gets. They are a function of the run's seed and the attack seed, the same for
// every attack.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace spankey {

// Returns the first `count` samples of an order in which every class has its turn in every round, in an order of the
// classes drawn for the round. The classes differ by at most one image as long as none has run out, and the first n of
// n + 1 are the first n. `labels` are those of all samples, 0 .. classes-1, and `count` is at most their number.
std::vector<std::int64_t> balanced_selection(std::span<const std::int64_t> labels, std::int64_t classes,
                                             std::int64_t count, std::uint64_t run_seed, std::int64_t attack_seed);

}  // namespace spankey
