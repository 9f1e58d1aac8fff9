// Works a sweep out: every trial with its identity and its estimated cost.
#pragma once

#include <filesystem>

#include "record/sweep_plan.h"
#include "sweep/sweep_file.h"

namespace spankey {

struct PlanOptions {
  std::filesystem::path directory;  // D
  bool many_trials = false;         // more than 100,000 are meant
};

// Every trial is resolved and checked before any of them runs. Combinations that come out the same are one trial, and
// `merged` says why; an axis whose values all come out the same is refused. Error(bad_input) names the place in the
// sweep file, the key and the value.
SweepPlan make_plan(const SweepFile& file, const PlanOptions& options);

}  // namespace spankey
