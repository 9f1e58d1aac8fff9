// Sweeps of dummy trials, made without a configuration.
#pragma once

#include <fmt/format.h>

#include <fstream>
#include <map>
#include <string>

#include "base/digest.h"
#include "sweep/plan.h"

namespace spankey::test {

inline SweepPlan dummy_plan(const std::filesystem::path& store, int trials) {
  SweepPlan plan;
  plan.name = "dummy";
  plan.base_name = "none";
  plan.store = store;
  for (int i = 0; i < trials; ++i) {
    PlannedTrial trial;
    trial.hash = to_hex(sha256(fmt::format("trial {}", i)));
    trial.id = trial.hash.substr(0, 16);
    trial.label = fmt::format("number={}", i);
    trial.settings = {{"run.seed", fmt::format("{}", i)}};
    trial.seconds = 0.05;
    plan.trials.push_back(trial);
  }
  return plan;
}

// How often each trial was completed, by hash.
inline std::map<std::string, int> completions(const std::filesystem::path& directory) {
  std::map<std::string, int> count;
  std::ifstream file(directory / "completions");
  for (std::string line; std::getline(file, line);) ++count[line];
  return count;
}

}  // namespace spankey::test
