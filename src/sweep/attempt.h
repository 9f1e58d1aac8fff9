// The outcome of one attempt at a trial, whichever executor made it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "record/ledger.h"
#include "sweep/plan.h"
#include "sweep/trial_queue.h"

namespace spankey {

struct AttemptEnd {
  int exit_code;
  double seconds;
  bool stopped = false;           // the worker was asked to stop while the attempt ran
  std::int64_t units = 0;         // of the attack that are done
  std::int64_t pause_epochs = 0;  // the attempt was to pause after so many epochs, 0: to run to its end
};

// The new entry after an attempt has ended. `before` is the entry at its begin, and `result` says whether the trial has
// a result. Exit code 0 with a result means done, without one at a pause it means waiting. 75 means waiting. 1 (mpirun
// after TERM) and 128 and above mean waiting if the checkpoint or the attack has advanced or the attempt was stopped,
// and failed otherwise. Everything else means failed. The reason of a failure is the text of `complaint`, which is
// called only then.
TrialEntry after_attempt(const TrialEntry& before, const AttemptEnd& end, bool result, std::int64_t step,
                         const std::function<std::string()>& complaint);

// Does the same with what the run directory shows. The complaint is the last line of the trial's log that is not
// mpirun's. A trial that is done has had its attack. Throws an Error where the run directory cannot be read.
TrialEntry outcome_of_attempt(Ledger& ledger, const PlannedTrial& trial, const TrialEntry& before, AttemptEnd end);

// Measures a trial that this attempt has brought to its pause. One whose run has no such figure has failed, as `entry`
// says then. Throws as TrialQueue::measure() does for every other fault.
void measure_at_rung(TrialQueue& queue, const PlannedTrial& trial, const AttemptEnd& end, TrialEntry& entry);

// Makes a link under D/trials to a trial whose store is elsewhere.
void link_trial(const SweepPlan& plan, const std::filesystem::path& directory, const std::string& id);

// The file that asks every worker of a sweep to stop.
std::filesystem::path cancel_marker(const std::filesystem::path& directory);
// True where that file exists. False where the file system cannot say now, in which case the caller asks again later.
bool is_cancelled(const std::filesystem::path& directory);

}  // namespace spankey
