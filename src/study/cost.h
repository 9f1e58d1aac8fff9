// What a trial will cost, from trials that have been run, or from a rule of thumb.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "config/config.h"

namespace spankey {

// A finished trial of the store.
struct MeasuredTrial {
  Config config;
  double seconds_per_epoch = 0.0;  // of training
};

// Run directories below `store` that hold a readable configuration and result.
std::vector<MeasuredTrial> measured_trials(const std::filesystem::path& store);

struct CostEstimate {
  double seconds = 0.0;
  bool measured = false;  // false: by the rule of thumb
};

// Seconds per epoch of the finished trial with the fewest other settings, among those of the same network and data;
// otherwise a rule: microseconds a sample by network, times passes of the deny loss. `train_samples`: in one epoch.
CostEstimate estimate_cost(const Config& config, std::int64_t train_samples,
                           const std::vector<MeasuredTrial>& measured);

}  // namespace spankey
