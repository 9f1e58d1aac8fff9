#include "study/plan.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <type_traits>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "data/dataset.h"
#include "study/cost.h"
#include "train/experiment.h"

namespace spankey {
namespace {

constexpr std::uint64_t most_trials_unasked = 100'000;
constexpr std::size_t id_digits = 16;
constexpr std::string_view override_place = "command line: ";

std::vector<std::string> overrides_of(const Settings& settings) {
  std::vector<std::string> overrides;
  for (const auto& [key, value] : settings) overrides.push_back(key + "=" + value);
  return overrides;
}

void make_data_path_absolute(Config& config) {
  if (!config.data.file.starts_with("builtin:"))
    config.data.file = std::filesystem::absolute(config.data.file).lexically_normal().string();
}

// The configuration layer knows overrides from the command line; ours come from a line of the sweep file.
std::string at_place_of_sweep(const std::string& message, const SweepFile& file) {
  if (!message.starts_with(override_place)) return message;
  const auto key =
      message.substr(override_place.size(), message.find(' ', override_place.size()) - override_place.size());
  const auto place = file.grid.places.find(key);
  return (place == file.grid.places.end() ? file.path.string() : place->second) + ": " +
         message.substr(override_place.size());
}

struct KnownData {
  std::string digest;
  DataFacts facts;
};

class Planner {
 public:
  Planner(const SweepFile& file, SweepPlan& plan) : file_(file), plan_(plan), measured_(measured_trials(plan.store)) {}

  void add(const Settings& varied) {
    PlannedTrial trial;
    trial.settings = file_.grid.fixed;
    trial.settings.insert(trial.settings.end(), varied.begin(), varied.end());
    trial.label = settings_text(varied);
    const auto config = at_its_place([&] { return trial_config(plan_, trial); });
    const auto& data = known_data(config);
    at_its_place([&] { check_data(config, data.facts); });
    trial.hash = config_hash(config, data.digest);
    trial.id = trial.hash.substr(0, id_digits);
    if (!known_.insert(trial.id).second) return;
    const auto samples =
        config.data.limit > 0 ? std::min(config.data.limit, data.facts.train_samples) : data.facts.train_samples;
    const auto cost = estimate_cost(config, samples, measured_);
    trial.seconds = cost.seconds;
    (cost.measured ? from_measurement_ : by_rule_) += 1;
    plan_.trials.push_back(std::move(trial));
  }

  std::string cost_source() const {
    if (by_rule_ == 0) return "from finished trials of the store";
    if (from_measurement_ == 0) return "a rule of thumb: no trial of this kind is finished in the store";
    return fmt::format("{} trials from finished ones of the store, {} by a rule of thumb", from_measurement_, by_rule_);
  }

 private:
  template <class Work>
  std::invoke_result_t<Work> at_its_place(Work&& work) const {
    try {
      return work();
    } catch (const Error& error) {
      throw Error(error.code(), at_place_of_sweep(error.what(), file_));
    }
  }

  const KnownData& known_data(const Config& config) {
    const auto known = data_.find(config.data.file);
    if (known != data_.end()) return known->second;
    // The digest alone is wanted; each trial checks the content when it starts.
    const auto dataset = Dataset::open(config.data.file, Verify::never);
    const auto& info = dataset->info();
    const DataFacts facts{info.sample_shape, info.classes, dataset->train().size};
    return data_.emplace(config.data.file, KnownData{info.digest, facts}).first->second;
  }

  const SweepFile& file_;
  SweepPlan& plan_;
  std::vector<MeasuredTrial> measured_;
  std::map<std::string, KnownData> data_;
  std::set<std::string> known_;
  std::size_t from_measurement_ = 0, by_rule_ = 0;
};

nlohmann::json to_json(const SweepPlan& plan) {
  nlohmann::json json{{"name", plan.name},           {"base", plan.base_name},
                      {"base_text", plan.base_text}, {"store", plan.store.string()},
                      {"max_hours", plan.max_hours}, {"cost_source", plan.cost_source}};
  auto& trials = json["trials"] = nlohmann::json::array();
  for (const auto& trial : plan.trials) {
    auto settings = nlohmann::json::array();
    for (const auto& [key, value] : trial.settings) settings.push_back({key, value});
    trials.push_back({{"id", trial.id},
                      {"hash", trial.hash},
                      {"settings", std::move(settings)},
                      {"label", trial.label},
                      {"seconds", trial.seconds}});
  }
  return json;
}

SweepPlan from_json(const nlohmann::json& json) {
  SweepPlan plan;
  plan.name = json.at("name").get<std::string>();
  plan.base_name = json.at("base").get<std::string>();
  plan.base_text = json.at("base_text").get<std::string>();
  plan.store = json.at("store").get<std::string>();
  plan.max_hours = json.at("max_hours").get<double>();
  plan.cost_source = json.at("cost_source").get<std::string>();
  for (const auto& entry : json.at("trials")) {
    PlannedTrial trial;
    trial.id = entry.at("id").get<std::string>();
    trial.hash = entry.at("hash").get<std::string>();
    for (const auto& pair : entry.at("settings"))
      trial.settings.push_back({pair.at(0).get<std::string>(), pair.at(1).get<std::string>()});
    trial.label = entry.at("label").get<std::string>();
    trial.seconds = entry.at("seconds").get<double>();
    plan.trials.push_back(std::move(trial));
  }
  return plan;
}

bool same_trials(const SweepPlan& a, const SweepPlan& b) {
  return a.name == b.name && a.base_text == b.base_text && a.store == b.store && a.max_hours == b.max_hours &&
         std::equal(a.trials.begin(), a.trials.end(), b.trials.begin(), b.trials.end(),
                    [](const auto& x, const auto& y) { return x.id == y.id && x.settings == y.settings; });
}

void require_reasonable(const SweepFile& file, bool many_trials) {
  const auto count = combinations(file.grid);
  if (count > most_trials_unasked && !many_trials)
    fail_input("{}: {} trials: accepted: at most {}, or --yes where so many are meant", file.path.string(), count,
               most_trials_unasked);
}

}  // namespace

Config trial_config(const SweepPlan& plan, const PlannedTrial& trial) {
  auto config = canonical(parse_config(plan.base_text, plan.base_name, overrides_of(trial.settings)));
  make_data_path_absolute(config);
  return config;
}

SweepPlan make_plan(const SweepFile& file, const PlanOptions& options) {
  require_reasonable(file, options.many_trials);
  load_config(file.base);  // by itself first: its mistakes are no axis's
  SweepPlan plan;
  plan.name = file.name;
  plan.base_name = file.base.string();
  plan.base_text = read_text(file.base);
  plan.store =
      std::filesystem::absolute(file.store.empty() ? options.directory / "trials" : file.store).lexically_normal();
  plan.max_hours = file.max_hours;
  auto rows = expand(file.grid);
  if (rows.empty())
    fail_input("{}: no trial is left: accepted: [[exclude]] that leaves at least one", file.path.string());
  if (file.max_trials > 0 && rows.size() > static_cast<std::size_t>(file.max_trials))
    rows.resize(static_cast<std::size_t>(file.max_trials));
  Planner planner(file, plan);
  for (const auto& row : rows) planner.add(row);
  plan.cost_source = planner.cost_source();
  return plan;
}

std::string plan_json(const SweepPlan& plan) {
  return to_json(plan).dump(1) + "\n";
}

SweepPlan parse_plan(const std::string& text, const std::string& name) {
  try {
    return from_json(nlohmann::json::parse(text));
  } catch (const nlohmann::json::exception& error) {
    fail_input("{}: damaged ({}): accepted: what `spankey sweep run` wrote; running it again writes it anew", name,
               error.what());
  }
}

std::filesystem::path plan_path(const std::filesystem::path& directory) {
  return directory / "sweep.json";
}

void save_plan(const SweepPlan& plan, const std::filesystem::path& directory) {
  make_writable_folder(directory);
  make_writable_folder(plan.store);
  make_writable_folder(directory / "trials");
  try {
    if (std::filesystem::exists(plan_path(directory)) && same_trials(load_plan(directory), plan)) return;
  } catch (const Error& error) {
    log::warning("{}; it is written anew", error.what());
  }
  write_durably(plan_path(directory), plan_json(plan));
}

SweepPlan load_plan(const std::filesystem::path& directory) {
  const auto path = plan_path(directory);
  if (!std::filesystem::exists(path))
    fail_input("{}: no sweep was started here: accepted: the --dir of `spankey sweep run`", directory.string());
  return parse_plan(read_text(path), path.string());
}

}  // namespace spankey
