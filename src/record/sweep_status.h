// How far a sweep is, told from its files alone.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <string>

#include "record/ledger.h"
#include "record/sweep_plan.h"

namespace spankey {

// Lists of trials on the screen end after so many.
inline constexpr std::size_t most_trials_listed = 200;
// The line that follows such a list of `total` trials; empty where all of them are listed.
std::string unlisted_text(std::size_t total);

// {"trials", "done", "running", "failed", "waiting"}
nlohmann::json to_json(const SweepCounts& counts);

// Counts, what runs and what has failed; with `json` the counts alone, as JSON.
std::string status_text(const SweepPlan& plan, const Ledger& ledger, bool json);

}  // namespace spankey
