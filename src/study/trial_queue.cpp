#include "study/trial_queue.h"

#include <algorithm>

namespace spankey {

TrialQueue::TrialQueue(const SweepPlan& plan, Ledger& ledger)
    : ledger_(ledger), trials_(static_cast<std::int64_t>(plan.trials.size())) {
  for (const auto& trial : plan.trials)
    if (!count_finished(trial)) left_.push_back(&trial);
  std::stable_sort(left_.begin(), left_.end(), [](const auto* a, const auto* b) { return a->seconds > b->seconds; });
}

std::optional<TakenTrial> TrialQueue::next() {
  std::optional<TakenTrial> taken;
  const auto finished = [&](const PlannedTrial* trial) {
    if (taken) return false;
    auto claim = ledger_.claim(*trial);
    if (claim) {
      taken = TakenTrial{trial, std::move(*claim)};
      return false;
    }
    return count_finished(*trial);
  };
  left_.erase(std::remove_if(left_.begin(), left_.end(), finished), left_.end());
  return taken;
}

bool TrialQueue::count_finished(const PlannedTrial& trial) {
  const auto state = ledger_.read(trial.id).state;
  if (state == TrialState::done) ++done_;
  if (state == TrialState::failed) ++failed_;
  return state == TrialState::done || state == TrialState::failed;
}

double TrialQueue::left_seconds() const {
  double seconds = 0.0;
  for (const auto* trial : left_) seconds += trial->seconds;
  return seconds;
}

}  // namespace spankey
