// The trials of a sweep that are still to be run, as one worker sees them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "record/halving.h"
#include "record/ledger.h"
#include "sweep/plan.h"

namespace spankey {

struct TakenTrial {
  const PlannedTrial* trial;
  TrialClaim claim;
  std::int64_t pause_epochs = 0;  // the trial pauses after so many epochs, 0: it runs to its end
};

// The share of one of several workers that begin together. Each starts with its own trials (every `of`-th), so that
// they do not all try to take the same one. The rest of the others' trials come after them.
struct WorkerShare {
  std::size_t index = 0, of = 1;
};

// Reads a trial's files only when they may have changed. A trial that another worker runs is read again after
// `shortest_pause`, then after half as much more each time, up to `longest_pause`. In a sweep with halving it makes the
// decisions that are due (record/halving.h). Trials that have come further go first.
class TrialQueue {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds shortest_pause{200}, longest_pause{30'000};

  // `plan` must outlive the queue. `known` holds the states of its trials where they have been read already.
  TrialQueue(const SweepPlan& plan, Ledger& ledger, WorkerShare share = {},
             const std::optional<std::vector<TrialState>>& known = {});

  // Claims the longest trial that nobody runs and that is not paused. Returns nullopt where other workers, as far as
  // was seen lately, run all that are left. Throws an Error where the ledger cannot be read or written. No trial is
  // lost by it.
  std::optional<TakenTrial> next(Clock::time_point now = Clock::now());

  // Returns a trial that this worker had taken, which is then waiting again. The next call of next() sees it, behind
  // all others if `behind`.
  void give_back(const PlannedTrial& trial, bool behind = false);

  // Records what a trial shows that has paused after so many epochs. Call it while its claim is held. Throws as
  // Halving::measure() does.
  void measure(const PlannedTrial& trial, std::int64_t pause_epochs);
  // True where a paused trial is attacked before it is measured.
  bool attacks_at_rungs() const { return halving_ && halving_->uses_attack(); }
  // Returns a line for people on each decision that this worker has made since the last call.
  std::vector<std::string> take_decisions() { return std::exchange(decisions_, {}); }

  // Trials finished by any worker, as far as the constructor and next() have seen. The others are waiting or running.
  std::int64_t done() const { return done_; }
  std::int64_t failed() const { return failed_; }
  std::int64_t stopped() const { return stopped_; }
  std::size_t left() const { return left_.size(); }
  double left_seconds() const;  // estimate for all that are left
  std::int64_t trials() const { return trials_; }
  // Number of times that next() has read the files of a trial.
  std::int64_t looks() const { return looks_; }

 private:
  struct Left {
    const PlannedTrial* trial;
    Clock::time_point due{};  // not read before this time
    Clock::duration pause = shortest_pause;
    bool over = false;
    std::size_t rungs_passed = 0;
  };

  std::optional<TakenTrial> claim_next(Clock::time_point now);
  void follow_halving();
  bool is_paused(const Left& left) const { return halving_ && halving_->is_paused(position(left)); }
  std::size_t position(const Left& left) const { return static_cast<std::size_t>(left.trial - plan_.trials.data()); }
  bool count_finished(const Left& left, TrialState state);

  const SweepPlan& plan_;
  Ledger& ledger_;
  std::optional<Halving> halving_;
  std::vector<TrialState> states_;  // as far as they have been seen
  std::vector<std::string> decisions_;
  bool decided_ = false;    // everything that is certain, from what has been seen
  std::vector<Left> left_;  // longest first, the own share before the others
  std::int64_t trials_, done_ = 0, failed_ = 0, stopped_ = 0, looks_ = 0;
};

}  // namespace spankey
