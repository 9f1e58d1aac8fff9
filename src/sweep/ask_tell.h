// Lets an optimiser outside of this program choose the trials of a sweep (Optuna, Nevergrad, a script). The optimiser
// asks for trials, a worker runs them, and the sweep tells what has come of them, all in JSON.
#pragma once

#include <cstdint>
#include <string>

#include "record/ledger.h"
#include "record/objective.h"
#include "sweep/plan.h"

namespace spankey {

// Adds trials to the plan in options.directory. `wishes` is an object such as {"key.gamma": 0.5}, or a list of such
// objects. `file` says what all trials share. Returns {"trials": [{"id", "settings", "new"}]} as text, one entry for
// each wish in its order, "new" where the plan did not have the trial. Error(bad_input), which begins with `name`, for
// anything else, and where `file` has dimensions or halving of its own.
std::string ask_for_trials(const SweepFile& file, const PlanOptions& options, const std::string& wishes,
                           const std::string& name);

// Returns {"metric", "trials": [{"id", "settings", "state", "value", "reason", "run_directory"}]} as text. The value is
// the objective of a finished trial, null for others and where the result does not have it.
std::string tell_of_trials(const SweepPlan& plan, const Ledger& ledger, const Objective& objective);

}  // namespace spankey
