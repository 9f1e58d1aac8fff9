#include "study/cost.h"

#include <nlohmann/json.hpp>

#include <array>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "config/value.h"
#include "train/run_directory.h"

namespace spankey {
namespace {

struct NetworkCost {
  std::string_view model;
  double microseconds;  // a sample, forward and backward, one core
};

// Orders of magnitude on a processor of 2020, to start with; the first finished trial replaces them.
constexpr std::array network_costs{NetworkCost{"mlp", 5}, NetworkCost{"small_cnn", 60},
                                   NetworkCost{"small_resnet", 1500}, NetworkCost{"resnet18", 15000},
                                   NetworkCost{"vit_tiny", 15000}};
constexpr double other_network_microseconds = 1000;
// Evaluation with every key, loading and start-up, on top of the training.
constexpr double beside_training = 1.15;
constexpr double start_up_seconds = 0.7;

double rule_of_thumb_seconds(const Config& config, std::int64_t train_samples) {
  double microseconds = other_network_microseconds;
  for (const auto& network : network_costs)
    if (network.model == lower_case(config.model.name)) microseconds = network.microseconds;
  const bool denies = lower_case(config.deny.mode) != "none";
  const auto passes = 1.0 + (denies ? static_cast<double>(config.deny.on.size()) : 0.0);
  return 1e-6 * microseconds * passes * static_cast<double>(train_samples);
}

}  // namespace

std::vector<MeasuredTrial> measured_trials(const std::filesystem::path& store) {
  std::vector<MeasuredTrial> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(store, error)) {
    const RunDirectory run{entry.path()};
    if (!std::filesystem::exists(run.result(), error)) continue;
    try {
      const auto result = nlohmann::json::parse(read_text(run.result()), nullptr, /*allow_exceptions=*/false);
      if (!result.is_object() || !result.contains("seconds_per_epoch")) continue;
      found.push_back(
          {parse_config(read_text(run.config()), run.config().string()), result["seconds_per_epoch"].get<double>()});
    } catch (const std::exception&) {
      continue;  // not readable: no help for an estimate, and no obstacle
    }
  }
  return found;
}

CostEstimate estimate_cost(const Config& config, std::int64_t train_samples,
                           const std::vector<MeasuredTrial>& measured) {
  CostEstimate estimate;
  double per_epoch = rule_of_thumb_seconds(config, train_samples);
  std::size_t fewest = std::numeric_limits<std::size_t>::max();
  for (const auto& trial : measured) {
    if (lower_case(trial.config.model.name) != lower_case(config.model.name) ||
        trial.config.data.file != config.data.file || trial.config.data.limit != config.data.limit)
      continue;
    const auto differences = config_diff(trial.config, config, /*hashed_only=*/true).size();
    if (differences >= fewest) continue;
    fewest = differences;
    per_epoch = trial.seconds_per_epoch;
    estimate.measured = true;
  }
  estimate.seconds = start_up_seconds + beside_training * per_epoch * static_cast<double>(config.train.epochs);
  return estimate;
}

}  // namespace spankey
