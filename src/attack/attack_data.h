// Which images an attacker may have, and on which the outcome is measured.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace spankey {

// Under `train` the attacker has images of the training split, and the outcome is measured on the whole test split, as
// every figure of a run is. Under `heldout` he has images that the network has never seen, from one random half of the
// test split, and the outcome is measured on the other half.
enum class ImageSource { train, heldout };
std::string_view to_string(ImageSource source);

class AttackData {
 public:
  // The halves are a function of the run's seed. Of an odd number the attacker has the smaller one.
  AttackData(std::shared_ptr<const Dataset> dataset, ImageSource source, std::uint64_t run_seed);

  ImageSource source() const { return source_; }
  // The split that has the attacker's images, and its samples that he may have, counted from 0 to offered() - 1.
  const Split& offered_split() const;
  std::int64_t offered() const;
  std::int64_t offered_sample(std::int64_t i) const;
  std::vector<std::int64_t> offered_labels() const;
  // The samples of the test split that count, in ascending order. An empty list means all.
  std::span<const std::int64_t> judged() const { return judged_; }
  std::int64_t judged_size() const;
  // The accuracy of always answering the class that is commonest, or rarest, among them.
  double majority_rate() const;
  double minority_rate() const;

 private:
  std::vector<std::int64_t> judged_counts() const;  // by class

  std::shared_ptr<const Dataset> dataset_;
  ImageSource source_;
  std::vector<std::int64_t> offered_, judged_;  // of heldout
};

}  // namespace spankey
