// The sub-commands of `spankey sweep`, as the command line calls them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "record/ledger.h"
#include "sweep/plan.h"

namespace spankey {

enum class RetryFailed { none, crashed, all };

// Makes failed trials waiting, so that they are tried again. `crashed` does so for those that a signal ended, `all` for
// every one. Returns how many.
std::int64_t reopen_failed(const SweepPlan& plan, Ledger& ledger, RetryFailed which);

// Text such as "12 combinations, 6 trials: ..." with the reasons and a newline. Empty where every combination is a
// trial.
std::string merged_text(const SweepPlan& plan);

// What follows the training of each trial, with a newline. Empty without an attack.
std::string attack_text(const SweepPlan& plan);

// The rungs, and how many epochs are left of all, with a newline. Empty without halving.
std::string halving_text(const SweepPlan& plan);

// The trials with their estimated cost, and the sum. `json` gives one object instead of the table.
std::string plan_text(const SweepPlan& plan, const Ledger& ledger, bool json);

// Asks every worker to stop, with D/CANCEL for those that watch D, and a STOP file for each running trial. Returns the
// number of those trials.
std::int64_t cancel_sweep(const SweepPlan& plan, const Ledger& ledger, const std::filesystem::path& directory);

}  // namespace spankey
