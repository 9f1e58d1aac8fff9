#include "attack/selection.h"

#include "base/error.h"
#include "base/stream.h"

namespace spankey {
namespace {

StreamId selection_stream(std::uint64_t run_seed, std::int64_t attack_seed, std::int64_t step) {
  return {.seed = run_seed,
          .purpose = Purpose::attack,
          .epoch = static_cast<std::uint32_t>(attack_seed),
          .step = static_cast<std::uint32_t>(step)};
}

// The samples of each class in an order drawn for the class.
std::vector<std::vector<std::int64_t>> shuffled_classes(std::span<const std::int64_t> labels, std::int64_t classes,
                                                        std::uint64_t run_seed, std::int64_t attack_seed) {
  std::vector<std::vector<std::int64_t>> found(static_cast<std::size_t>(classes)), shuffled(found.size());
  for (std::size_t i = 0; i < labels.size(); ++i)
    found[static_cast<std::size_t>(labels[i])].push_back(static_cast<std::int64_t>(i));
  for (std::size_t c = 0; c < found.size(); ++c)
    for (const auto place : permutation(selection_stream(run_seed, attack_seed, static_cast<std::int64_t>(c)),
                                        static_cast<std::int64_t>(found[c].size())))
      shuffled[c].push_back(found[c][static_cast<std::size_t>(place)]);
  return shuffled;
}

}  // namespace

std::vector<std::int64_t> balanced_selection(std::span<const std::int64_t> labels, std::int64_t classes,
                                             std::int64_t count, std::uint64_t run_seed, std::int64_t attack_seed) {
  SPANKEY_CHECK_LE(count, static_cast<std::int64_t>(labels.size()));
  const auto shuffled = shuffled_classes(labels, classes, run_seed, attack_seed);
  std::vector<std::int64_t> chosen;
  for (std::size_t round = 0; static_cast<std::int64_t>(chosen.size()) < count; ++round) {
    const auto step = classes + static_cast<std::int64_t>(round);
    for (const auto c : permutation(selection_stream(run_seed, attack_seed, step), classes)) {
      const auto& own = shuffled[static_cast<std::size_t>(c)];
      if (round < own.size() && static_cast<std::int64_t>(chosen.size()) < count) chosen.push_back(own[round]);
    }
  }
  return chosen;
}

}  // namespace spankey
