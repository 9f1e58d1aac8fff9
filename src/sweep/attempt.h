// One attempt at a trial, whoever makes it: what it leaves and what follows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "record/ledger.h"
#include "sweep/plan.h"

namespace spankey {

struct AttemptEnd {
  int exit_code;
  double seconds;
  bool stopped = false;  // the worker was asked to stop while the attempt ran
};

// What follows from the end of an attempt; `before` is the entry at its begin, `result` whether the result of the trial
// is there. 0 with a result: done. 75: waiting. 1 (mpirun after TERM) and 128 and above: waiting if the checkpoint has
// advanced or the attempt was stopped, otherwise failed. Everything else: failed, with what `complaint` returns, asked
// only then, as the reason.
TrialEntry after_attempt(const TrialEntry& before, const AttemptEnd& end, bool result, std::int64_t step,
                         const std::function<std::string()>& complaint);

// The same, with what the run directory shows; the complaint is the last line of the trial's log that is not mpirun's.
// Error where the run directory cannot be read.
TrialEntry outcome_of_attempt(Ledger& ledger, const PlannedTrial& trial, const TrialEntry& before,
                              const AttemptEnd& end);

// Trials of a store elsewhere show under D/trials as links.
void link_trial(const SweepPlan& plan, const std::filesystem::path& directory, const std::string& id);

// The file that asks every worker of a sweep to stop.
std::filesystem::path cancel_marker(const std::filesystem::path& directory);
// Whether it is there. Where that cannot be told now, it is asked again the next time.
bool is_cancelled(const std::filesystem::path& directory);

}  // namespace spankey
