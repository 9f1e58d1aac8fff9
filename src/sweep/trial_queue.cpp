#include "sweep/trial_queue.h"

#include <algorithm>

#include "base/error.h"

namespace spankey {

TrialQueue::TrialQueue(const SweepPlan& plan, Ledger& ledger, WorkerShare share,
                       const std::optional<std::vector<TrialState>>& known)
    : plan_(plan),
      ledger_(ledger),
      states_(known ? *known : ledger.read_states(plan)),
      trials_(static_cast<std::int64_t>(plan.trials.size())) {
  SPANKEY_CHECK_EQ(states_.size(), plan.trials.size());
  if (plan.halving) halving_.emplace(plan);
  std::vector<const PlannedTrial*> waiting;
  for (const auto& trial : plan.trials) {
    const Left left{.trial = &trial};
    if (!count_finished(left, states_[position(left)])) waiting.push_back(&trial);
  }
  std::stable_sort(waiting.begin(), waiting.end(),
                   [](const auto* a, const auto* b) { return a->seconds > b->seconds; });
  for (std::size_t turn = 0; turn < share.of; ++turn)
    for (std::size_t i = (share.index + turn) % share.of; i < waiting.size(); i += share.of)
      left_.push_back({.trial = waiting[i]});
}

std::optional<TakenTrial> TrialQueue::next(Clock::time_point now) {
  follow_halving();
  auto taken = claim_next(now);
  while (!taken && halving_ && !decided_) {  // something has ended elsewhere, or come to its rung
    follow_halving();
    taken = claim_next(now);
  }
  if (taken || !halving_) return taken;
  // This worker would have nothing to do.
  const auto early = halving_->promote_early(states_);
  if (!early) return std::nullopt;
  if (!early->empty()) decisions_.push_back(*early);
  follow_halving();
  return claim_next(now);
}

std::optional<TakenTrial> TrialQueue::claim_next(Clock::time_point now) {
  std::optional<TakenTrial> taken;
  const auto is_over = [](const Left& left) { return left.over; };
  std::erase_if(left_, is_over);  // of a call that an error has ended
  for (auto& left : left_) {
    if (now < left.due || is_paused(left)) continue;
    ++looks_;
    auto seen = TrialState::waiting;
    if (auto claim = ledger_.claim(*left.trial, &seen)) {
      // Another worker may have brought it to its rung between the last look and the claim.
      if (halving_ && halving_->refresh()) {
        decided_ = false;
        if (is_paused(left) || halving_->rungs_passed(position(left)) != left.rungs_passed) continue;
      }
      left = {.trial = left.trial, .rungs_passed = left.rungs_passed};
      taken = TakenTrial{left.trial, std::move(*claim), halving_ ? halving_->pause_epochs(position(left)) : 0};
      break;
    }
    left.over = count_finished(left, seen);
    left.due = now + left.pause;
    left.pause = std::min<Clock::duration>(left.pause * 3 / 2, longest_pause);
  }
  std::erase_if(left_, is_over);
  return taken;
}

// Decides what can be decided, drops the trials that are stopped, and puts those that have come furthest in front.
void TrialQueue::follow_halving() {
  if (!halving_) return;
  const bool changed = halving_->refresh();
  if (!changed && decided_) return;
  decided_ = true;
  auto lines = halving_->decide(states_);
  decisions_.insert(decisions_.end(), lines.begin(), lines.end());
  for (auto& left : left_) {
    if (!left.over && halving_->stopped(position(left))) left.over = count_finished(left, TrialState::stopped);
    const auto passed = halving_->rungs_passed(position(left));
    if (passed != left.rungs_passed) left = {.trial = left.trial, .over = left.over, .rungs_passed = passed};
  }
  std::erase_if(left_, [](const Left& left) { return left.over; });
  std::stable_sort(left_.begin(), left_.end(),
                   [](const Left& a, const Left& b) { return a.rungs_passed > b.rungs_passed; });
}

void TrialQueue::measure(const PlannedTrial& trial, std::int64_t pause_epochs) {
  halving_.value().measure(static_cast<std::size_t>(&trial - plan_.trials.data()), pause_epochs);
  decided_ = false;
}

void TrialQueue::give_back(const PlannedTrial& trial, bool behind) {
  const auto found =
      std::find_if(left_.begin(), left_.end(), [&trial](const Left& left) { return left.trial == &trial; });
  if (found == left_.end()) return;
  *found = {.trial = &trial, .rungs_passed = found->rungs_passed};
  if (behind) std::rotate(found, found + 1, left_.end());
}

bool TrialQueue::count_finished(const Left& left, TrialState state) {
  const bool finished = state == TrialState::done || state == TrialState::failed || state == TrialState::stopped;
  if (!finished) return false;
  if (state == TrialState::done) ++done_;
  if (state == TrialState::failed) ++failed_;
  if (state == TrialState::stopped) ++stopped_;
  states_[position(left)] = state;
  decided_ = false;
  return true;
}

double TrialQueue::left_seconds() const {
  double seconds = 0.0;
  for (const auto& left : left_) seconds += left.trial->seconds;
  return seconds;
}

}  // namespace spankey
