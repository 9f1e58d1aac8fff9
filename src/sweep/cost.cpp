#include "sweep/cost.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "config/entries.h"
#include "config/value.h"
#include "record/run_directory.h"

namespace spankey {
namespace {

struct NetworkCost {
  std::string_view model;
  double microseconds;  // a sample, forward and backward, one core
};

// Orders of magnitude on a processor of 2020. The first finished trial replaces them.
constexpr std::array network_costs{NetworkCost{"mlp", 5}, NetworkCost{"small_cnn", 60},
                                   NetworkCost{"small_resnet", 1500}, NetworkCost{"resnet18", 15000},
                                   NetworkCost{"vit_tiny", 15000}};
constexpr double other_network_microseconds = 1000;
// Evaluation with every key, loading and start-up, on top of the training.
constexpr double beside_training = 1.15;
constexpr double start_up_seconds = 0.7;
constexpr double passes_of_a_step = 3.0;  // a backward pass takes two forward ones

double microseconds_a_sample(const Config& config) {
  for (const auto& network : network_costs)
    if (network.model == lower_case(config.model.name)) return network.microseconds;
  return other_network_microseconds;
}

double rule_of_thumb_seconds(const Config& config, std::int64_t train_samples) {
  const bool denies = lower_case(config.deny.mode) != "none";
  const auto denied = std::ssize(config.deny.on) + config.deny.adversarial_steps;
  const auto passes = 1.0 + (denies ? static_cast<double>(denied) : 0.0);
  return 1e-6 * microseconds_a_sample(config) * passes * static_cast<double>(train_samples);
}

// Seconds of all units of an attack.json, each row being the mean of its attack seeds.
double seconds_of_attacks(const nlohmann::json& attacks) {
  double seconds = 0.0;
  for (const auto& row : attacks.at("rows"))
    if (!row.at("access").is_null())
      seconds += row.at("cost").at("seconds").get<double>() * row.at("access").at("seeds").get<double>();
  return seconds;
}

void add_attacks(FinishedTrial& trial) {
  const auto path = RunDirectory{trial.run}.attack() / "attack.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return;
  const auto attacks = read_json(path);
  trial.attack_seconds = seconds_of_attacks(attacks);
  trial.attack_preset = attacks.at("preset").get<std::string>();
}

// Numbers words in the order of their first use.
std::uint32_t number_of(std::unordered_map<std::string, std::uint32_t>& numbers, std::string word) {
  return numbers.emplace(std::move(word), static_cast<std::uint32_t>(numbers.size())).first->second;
}

}  // namespace

std::vector<FinishedTrial> finished_trials(const std::filesystem::path& store) {
  std::vector<FinishedTrial> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(store, error)) {
    const RunDirectory run{entry.path()};
    try {
      const auto result = read_json(run.result());
      if (!result.contains("seconds_per_epoch")) continue;
      found.push_back(
          {run.root, result.at("config_hash").get<std::string>(), result["seconds_per_epoch"].get<double>()});
      add_attacks(found.back());
    } catch (const std::exception&) {
      continue;  // missing or unreadable, so it gives no estimate and no error
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.run < b.run; });
  return found;
}

CostModel::Subject CostModel::describe(const Config& config, std::int64_t train_samples) {
  auto kind = fmt::format("{}\n{}\n{}", lower_case(config.model.name), config.data.file, config.data.limit);
  Subject subject{.kind = number_of(kind_numbers_, std::move(kind)),
                  .values = {},
                  .rule_seconds = rule_of_thumb_seconds(config, train_samples),
                  .pass_seconds = 1e-6 * microseconds_a_sample(config) / passes_of_a_step,
                  .epochs = config.train.epochs};
  auto values = hashed_values(config);
  value_numbers_.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    subject.values.push_back(number_of(value_numbers_[i], std::move(values[i])));
  return subject;
}

CostModel::Kind& CostModel::kind_of(const Subject& subject) {
  if (kinds_.size() <= subject.kind) kinds_.resize(subject.kind + 1);
  return kinds_[subject.kind];
}

void CostModel::add_finished(const Subject& trial, double seconds_per_epoch) {
  auto& kind = kind_of(trial);
  if (!kind.same.emplace(trial.values, kind.seconds_per_epoch.size()).second) return;  // the one before counts
  kind.columns.resize(trial.values.size());
  kind.varies.resize(trial.values.size());
  for (std::size_t i = 0; i < trial.values.size(); ++i) {
    auto& column = kind.columns[i];
    column.push_back(trial.values[i]);
    kind.varies[i] = kind.varies[i] || column.front() != column.back();
  }
  kind.seconds_per_epoch.push_back(seconds_per_epoch);
}

std::size_t CostModel::nearest(const Kind& kind, const std::vector<std::uint32_t>& values) {
  if (const auto same = kind.same.find(values); same != kind.same.end()) return same->second;
  constexpr std::size_t block = 2048;  // what stays in the cache of a core
  std::array<std::uint32_t, block> differences{};
  std::size_t best = 0;
  std::uint32_t fewest = static_cast<std::uint32_t>(values.size()) + 1;
  for (std::size_t begin = 0; begin < kind.seconds_per_epoch.size(); begin += block) {
    const auto count = std::min(block, kind.seconds_per_epoch.size() - begin);
    differences.fill(0);
    for (std::size_t key = 0; key < values.size(); ++key) {
      if (!kind.varies[key]) continue;  // the same difference, or none, from every trial
      const auto* column = kind.columns[key].data() + begin;
      const auto value = values[key];
      for (std::size_t i = 0; i < count; ++i) differences[i] += column[i] != value ? 1 : 0;
    }
    const auto least = std::min_element(differences.begin(), differences.begin() + static_cast<std::ptrdiff_t>(count));
    if (*least >= fewest) continue;
    fewest = *least;
    best = begin + static_cast<std::size_t>(least - differences.begin());
  }
  return best;
}

CostEstimate CostModel::estimate(const Subject& subject) const {
  const bool measured = subject.kind < kinds_.size() && !kinds_[subject.kind].seconds_per_epoch.empty();
  double per_epoch = subject.rule_seconds;
  if (measured) {
    const auto& kind = kinds_[subject.kind];
    per_epoch = kind.seconds_per_epoch[nearest(kind, subject.values)];
  }
  return {start_up_seconds + beside_training * per_epoch * static_cast<double>(subject.epochs), measured};
}

void CostModel::add_attacked(const Subject& trial, double seconds) {
  auto& kind = kind_of(trial);
  kind.attack_seconds += seconds;
  ++kind.attacked;
}

double CostModel::attack_seconds(const Subject& subject, double images) const {
  if (subject.kind < kinds_.size() && kinds_[subject.kind].attacked > 0)
    return kinds_[subject.kind].attack_seconds / static_cast<double>(kinds_[subject.kind].attacked);
  return start_up_seconds + images * subject.pass_seconds;
}

}  // namespace spankey
