// Plans a sweep, which gives every trial its identity and its estimated cost.
#pragma once

#include <filesystem>

#include "record/sweep_plan.h"
#include "sweep/sweep_file.h"

namespace spankey {

struct PlanOptions {
  std::filesystem::path directory;  // D
  bool many_trials = false;         // allows more than 100,000
};

// Resolves and checks every trial before any of them runs. Combinations with the same result are one trial, and
// `merged` says why. An axis whose values all give the same trial is refused. Error(bad_input) names the place in the
// sweep file, the key and the value.
SweepPlan make_plan(const SweepFile& file, const PlanOptions& options);

}  // namespace spankey
