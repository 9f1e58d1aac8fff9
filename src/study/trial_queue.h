// The trials of a sweep that are still to be run, as one worker sees them.
#pragma once

#include <optional>
#include <vector>

#include "study/ledger.h"
#include "study/plan.h"

namespace spankey {

struct TakenTrial {
  const PlannedTrial* trial;
  TrialClaim claim;
};

class TrialQueue {
 public:
  // `plan` outlives the queue.
  TrialQueue(const SweepPlan& plan, Ledger& ledger);

  // The longest trial that nobody runs, claimed; nothing where all that are left are being run by other workers.
  std::optional<TakenTrial> next();

  // Finished trials, by whoever, as far as the constructor and next() have seen; the rest is waiting or running.
  std::int64_t done() const { return done_; }
  std::int64_t failed() const { return failed_; }
  std::size_t left() const { return left_.size(); }
  double left_seconds() const;  // estimated, of all that are left
  std::int64_t trials() const { return trials_; }

 private:
  bool count_finished(const PlannedTrial& trial);

  Ledger& ledger_;
  std::vector<const PlannedTrial*> left_;  // longest first
  std::int64_t trials_, done_ = 0, failed_ = 0;
};

}  // namespace spankey
