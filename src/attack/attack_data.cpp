#include "attack/attack_data.h"

#include <algorithm>
#include <utility>

#include "base/stream.h"

namespace spankey {
namespace {

constexpr std::uint32_t number_of_halves = 30;  // among the numbers of the attacks' streams

}  // namespace

std::string_view to_string(ImageSource source) {
  return source == ImageSource::heldout ? "heldout" : "train";
}

AttackData::AttackData(std::shared_ptr<const Dataset> dataset, ImageSource source, std::uint64_t run_seed)
    : dataset_(std::move(dataset)), source_(source) {
  if (source == ImageSource::train) return;
  const auto size = dataset_->test().size;
  const auto order = permutation({.seed = run_seed, .purpose = Purpose::attack, .layer = number_of_halves}, size);
  offered_.assign(order.begin(), order.begin() + size / 2);
  judged_.assign(order.begin() + size / 2, order.end());
  std::sort(offered_.begin(), offered_.end());
  std::sort(judged_.begin(), judged_.end());
}

const Split& AttackData::offered_split() const {
  return source_ == ImageSource::heldout ? dataset_->test() : dataset_->train();
}

std::int64_t AttackData::offered() const {
  return source_ == ImageSource::heldout ? std::ssize(offered_) : dataset_->train().size;
}

std::int64_t AttackData::offered_sample(std::int64_t i) const {
  return source_ == ImageSource::heldout ? offered_[static_cast<std::size_t>(i)] : i;
}

std::vector<std::int64_t> AttackData::offered_labels() const {
  if (source_ == ImageSource::train) return dataset_->train().labels;
  std::vector<std::int64_t> labels;
  for (const auto sample : offered_) labels.push_back(dataset_->test().labels[static_cast<std::size_t>(sample)]);
  return labels;
}

std::int64_t AttackData::judged_size() const {
  return source_ == ImageSource::heldout ? std::ssize(judged_) : dataset_->test().size;
}

std::vector<std::int64_t> AttackData::judged_counts() const {
  const auto& labels = dataset_->test().labels;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(dataset_->info().classes));
  for (const auto sample : judged_) ++counts[static_cast<std::size_t>(labels[static_cast<std::size_t>(sample)])];
  return counts;
}

double AttackData::majority_rate() const {
  if (source_ == ImageSource::train) return dataset_->majority_rate(dataset_->test());
  return static_cast<double>(std::ranges::max(judged_counts())) / static_cast<double>(judged_.size());
}

double AttackData::minority_rate() const {
  if (source_ == ImageSource::train) return dataset_->minority_rate(dataset_->test());
  return static_cast<double>(std::ranges::min(judged_counts())) / static_cast<double>(judged_.size());
}

}  // namespace spankey
