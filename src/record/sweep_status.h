// Tells how far a sweep is, from its files alone.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <string>

#include "record/ledger.h"
#include "record/sweep_plan.h"

namespace spankey {

// Lists of trials on the screen end after this number.
inline constexpr std::size_t most_trials_listed = 200;
// Returns the line that follows such a list of `total` trials. Empty where all of them are listed.
std::string unlisted_text(std::size_t total);

// Returns {"trials", "done", "running", "failed", "waiting"}, and "stopped" where halving has stopped some.
nlohmann::json to_json(const SweepCounts& counts);

// Returns the counts, and the trials that run, that have failed and that halving has stopped, with the reason. With
// `json` it returns the counts alone, as JSON.
std::string status_text(const SweepPlan& plan, const Ledger& ledger, bool json);

}  // namespace spankey
