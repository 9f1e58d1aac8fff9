// Estimates the cost of a trial from finished trials, or by a rule of thumb.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/config.h"

namespace spankey {

// A finished trial of a store, as read from its result.json.
struct FinishedTrial {
  std::filesystem::path run;       // its run directory
  std::string hash;                // of its configuration
  double seconds_per_epoch = 0.0;  // of training
  std::string attack_preset = {};  // of the attacks that were measured on it, empty for none
  double attack_seconds = 0.0;     // of all their units
};

// The run directories below `store` with a readable result, ordered by name.
std::vector<FinishedTrial> finished_trials(const std::filesystem::path& store);

struct CostEstimate {
  double seconds = 0.0;
  bool measured = false;  // false for the rule of thumb
};

// Estimates from the finished trial with the fewest other settings, among those of the same network and data. If there
// are several, it takes the one added first. If there is none, a rule gives microseconds a sample by network, times
// passes of the deny loss.
class CostModel {
 public:
  // The settings of a configuration that affect its cost.
  struct Subject {
    std::uint32_t kind = 0;             // network and data, by number
    std::vector<std::uint32_t> values;  // of the hashed keys, by number
    double rule_seconds = 0.0;          // of an epoch, by the rule of thumb
    double pass_seconds = 0.0;          // of one image forward through the network, likewise
    std::int64_t epochs = 0;
  };

  // `train_samples` is the number in one epoch.
  Subject describe(const Config& config, std::int64_t train_samples);
  void add_finished(const Subject& trial, double seconds_per_epoch);
  CostEstimate estimate(const Subject& subject) const;

  // The seconds that the planned attacks took on a finished trial.
  void add_attacked(const Subject& trial, double seconds);
  // Estimates the seconds of attacks that send so many images through the network. It is the mean of the attacked
  // trials of the same network and data, or follows from the same rule.
  double attack_seconds(const Subject& subject, double images) const;

 private:
  // Finished trials of one network and data. A column holds the values of one key, in the order of the trials, so that
  // one pass compares a subject with many trials.
  struct Kind {
    std::vector<std::vector<std::uint32_t>> columns;
    std::vector<bool> varies;  // by column, true where trials have different values
    std::vector<double> seconds_per_epoch;
    double attack_seconds = 0.0;  // of all attacked trials
    std::size_t attacked = 0;
    std::map<std::vector<std::uint32_t>, std::size_t> same;  // the first trial with these values
  };

  Kind& kind_of(const Subject& subject);
  static std::size_t nearest(const Kind& kind, const std::vector<std::uint32_t>& values);

  std::unordered_map<std::string, std::uint32_t> kind_numbers_;
  std::vector<std::unordered_map<std::string, std::uint32_t>> value_numbers_;  // by key
  std::vector<Kind> kinds_;
};

}  // namespace spankey
