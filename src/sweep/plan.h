// Plans a sweep, which gives every trial its identity and its estimated cost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "record/sweep_plan.h"
#include "sweep/sweep_file.h"

namespace spankey {

struct PlanOptions {
  std::filesystem::path directory;  // D
  bool many_trials = false;         // allows more than 100,000
  // How many images the attacks of a trial send through its network, where a data set has so many to train on and to
  // test with. Without it attacks are not in the estimate.
  std::function<double(const SweepAttack& attack, std::int64_t train_samples, std::int64_t test_samples)>
      attack_images = nullptr;
};

// Resolves and checks every trial before any of them runs. Combinations with the same result are one trial, and
// `merged` says why. An axis whose values all give the same trial is refused. Error(bad_input) names the place in the
// sweep file, the key and the value.
SweepPlan make_plan(const SweepFile& file, const PlanOptions& options);

struct PlanOfRows {
  SweepPlan plan;
  std::vector<std::size_t> trial_of;  // position of each row's trial. Rows with the same result have one trial
};

// Does the same with these settings in place of a product of axes. `file` has neither axes nor halving.
PlanOfRows make_plan_of(const SweepFile& file, const PlanOptions& options, const std::vector<Settings>& rows);

}  // namespace spankey
