#include "sweep/trial_queue.h"

#include <algorithm>

#include "base/error.h"

namespace spankey {

TrialQueue::TrialQueue(const SweepPlan& plan, Ledger& ledger, WorkerShare share,
                       const std::optional<std::vector<TrialState>>& known)
    : ledger_(ledger), trials_(static_cast<std::int64_t>(plan.trials.size())) {
  const auto states = known ? *known : ledger.read_states(plan);
  SPANKEY_CHECK_EQ(states.size(), plan.trials.size());
  std::vector<const PlannedTrial*> waiting;
  for (std::size_t i = 0; i < states.size(); ++i)
    if (!count_finished(states[i])) waiting.push_back(&plan.trials[i]);
  std::stable_sort(waiting.begin(), waiting.end(),
                   [](const auto* a, const auto* b) { return a->seconds > b->seconds; });
  for (std::size_t turn = 0; turn < share.of; ++turn)
    for (std::size_t i = (share.index + turn) % share.of; i < waiting.size(); i += share.of)
      left_.push_back({.trial = waiting[i]});
}

std::optional<TakenTrial> TrialQueue::next(Clock::time_point now) {
  std::optional<TakenTrial> taken;
  const auto is_over = [](const Left& left) { return left.over; };
  std::erase_if(left_, is_over);  // of a call that an error has ended
  for (auto& left : left_) {
    if (now < left.due) continue;
    ++looks_;
    auto seen = TrialState::waiting;
    if (auto claim = ledger_.claim(*left.trial, &seen)) {
      left = {.trial = left.trial};
      taken = TakenTrial{left.trial, std::move(*claim)};
      break;
    }
    left.over = count_finished(seen);
    left.due = now + left.pause;
    left.pause = std::min<Clock::duration>(left.pause * 3 / 2, longest_pause);
  }
  std::erase_if(left_, is_over);
  return taken;
}

void TrialQueue::give_back(const PlannedTrial& trial, bool behind) {
  const auto found =
      std::find_if(left_.begin(), left_.end(), [&trial](const Left& left) { return left.trial == &trial; });
  if (found == left_.end()) return;
  *found = {.trial = &trial};
  if (behind) std::rotate(found, found + 1, left_.end());
}

bool TrialQueue::count_finished(TrialState state) {
  if (state == TrialState::done) ++done_;
  if (state == TrialState::failed) ++failed_;
  return state == TrialState::done || state == TrialState::failed;
}

double TrialQueue::left_seconds() const {
  double seconds = 0.0;
  for (const auto& left : left_) seconds += left.trial->seconds;
  return seconds;
}

}  // namespace spankey
