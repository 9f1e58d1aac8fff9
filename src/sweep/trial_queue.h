// The trials of a sweep that are still to be run, as one worker sees them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "record/ledger.h"
#include "sweep/plan.h"

namespace spankey {

struct TakenTrial {
  const PlannedTrial* trial;
  TrialClaim claim;
};

// Which of several workers that begin together this one is: each starts with trials of its own (every `of`-th), so that
// not all of them try to take the same one. What is left of the others' comes after them.
struct WorkerShare {
  std::size_t index = 0, of = 1;
};

// Files are looked at when there is something to be seen: a trial that another worker runs is looked at again after
// `shortest_pause`, then after half as much more each time, up to `longest_pause`.
class TrialQueue {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds shortest_pause{200}, longest_pause{30'000};

  // `plan` outlives the queue. `known`: the states of its trials, where they have been read already.
  TrialQueue(const SweepPlan& plan, Ledger& ledger, WorkerShare share = {},
             const std::optional<std::vector<TrialState>>& known = {});

  // The longest trial that nobody runs, claimed; nothing where all that are left are, as far as has been seen lately,
  // being run by other workers. Error where the ledger cannot be read or written; nothing is lost by it.
  std::optional<TakenTrial> next(Clock::time_point now = Clock::now());

  // A trial that this worker had taken is waiting again: seen by the next call of next(), behind all others if
  // `behind`.
  void give_back(const PlannedTrial& trial, bool behind = false);

  // Finished trials, by whoever, as far as the constructor and next() have seen; the rest is waiting or running.
  std::int64_t done() const { return done_; }
  std::int64_t failed() const { return failed_; }
  std::size_t left() const { return left_.size(); }
  double left_seconds() const;  // estimated, of all that are left
  std::int64_t trials() const { return trials_; }
  // How often next() has looked at the files of a trial.
  std::int64_t looks() const { return looks_; }

 private:
  struct Left {
    const PlannedTrial* trial;
    Clock::time_point due{};  // not looked at before
    Clock::duration pause = shortest_pause;
    bool over = false;
  };

  bool count_finished(TrialState state);

  Ledger& ledger_;
  std::vector<Left> left_;  // longest first, those of the own share before the others
  std::int64_t trials_, done_ = 0, failed_ = 0, looks_ = 0;
};

}  // namespace spankey
