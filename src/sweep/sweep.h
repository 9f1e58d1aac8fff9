// The commands of a sweep, as the command line calls them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "record/ledger.h"
#include "sweep/plan.h"

namespace spankey {

enum class RetryFailed { none, crashed, all };

// Failed trials that are to be tried again become waiting: `crashed` those that a signal ended, `all` every one.
// Returns how many.
std::int64_t reopen_failed(const SweepPlan& plan, Ledger& ledger, RetryFailed which);

// "12 combinations, 6 trials: ..." with the reasons and a newline; nothing where every combination is a trial.
std::string merged_text(const SweepPlan& plan);

// The trials with their estimated cost, and the sum; `json`: one object instead of the table.
std::string plan_text(const SweepPlan& plan, const Ledger& ledger, bool json);

// Asks every worker to stop: D/CANCEL for those that watch D, and a STOP file for each trial that runs. Returns the
// number of those.
std::int64_t cancel_sweep(const SweepPlan& plan, const Ledger& ledger, const std::filesystem::path& directory);

}  // namespace spankey
