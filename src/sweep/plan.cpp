#include "sweep/plan.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "config/config_text.h"
#include "config/entries.h"
#include "config/law.h"
#include "data/dataset.h"
#include "record/attack_record.h"
#include "record/objective.h"
#include "record/run_directory.h"
#include "sweep/cost.h"
#include "train/access_report.h"
#include "train/experiment.h"

namespace spankey {
namespace {

constexpr std::uint64_t most_trials_unasked = 100'000;
constexpr std::size_t id_digits = 16;
constexpr std::string_view override_place = "command line: ";

// The configuration layer reports overrides as from the command line. Here they come from a line of the sweep file.
std::string at_place_of_sweep(const std::string& message, const SweepFile& file) {
  if (!message.starts_with(override_place)) return message;
  const auto key =
      message.substr(override_place.size(), message.find(' ', override_place.size()) - override_place.size());
  const auto place = file.grid.places.find(key);
  return (place == file.grid.places.end() ? file.path.string() : place->second) + ": " +
         message.substr(override_place.size());
}

struct KnownData {
  std::string digest;  // of the data and of what data.limit chooses
  DataFacts facts;
  std::int64_t test_samples = 0;
};

// The keys in which two lists of settings differ, including keys that only one of them has.
std::vector<std::string> differing_keys(const Settings& a, const Settings& b) {
  std::vector<std::string> keys;
  const auto add_missing = [&keys](const Settings& from, const Settings& in) {
    for (const auto& setting : from)
      if (std::find(in.begin(), in.end(), setting) == in.end() &&
          std::find(keys.begin(), keys.end(), setting.key) == keys.end())
        keys.push_back(setting.key);
  };
  add_missing(a, b);
  add_missing(b, a);
  return keys;
}

bool is_hashed(const std::string& key) {
  static const auto others = [] {
    std::set<std::string> found;
    for (const auto& entry : entries(Config{}))
      if (!entry.hashed) found.insert(entry.key);
    return found;
  }();
  return !others.contains(key);
}

constexpr std::string_view data_key = "data.file";  // not hashed itself, since the digest of the content is

class Planner {
 public:
  Planner(const SweepFile& file, SweepPlan& plan, const PlanOptions& options)
      : file_(file), plan_(plan), options_(options) {
    for (const auto& dimension : file.grid.dimensions) require_difference(dimension);
  }

  // Returns the position of the trial among those of the plan.
  std::size_t add(const Settings& varied) {
    PlannedTrial trial;
    trial.settings = file_.grid.fixed;
    trial.settings.insert(trial.settings.end(), varied.begin(), varied.end());
    trial.label = settings_text(varied);
    const auto config = at_its_place([&] { return trial_config(plan_, trial); });
    const auto& data = known_data(config);
    at_its_place([&] { check_data(config, data.facts); });
    note_metrics(config);
    if (file_.halving) trial.epochs = config.train.epochs;
    trial.hash = config_hash(config, data.digest);
    trial.id = trial.hash.substr(0, id_digits);
    if (plan_.attack && config.train.twin != Twin::vanilla)
      trial.attack = fmt::format("{}", fmt::join(options_of(*plan_.attack), " "));
    const auto [known, fresh] = known_.emplace(trial.id, plan_.trials.size());
    if (!fresh) {
      note_merged(plan_.trials[known->second], trial);
      return known->second;
    }
    note_law(config, trial, data.digest);
    const auto samples =
        config.data.limit > 0 ? std::min(config.data.limit, data.facts.train_samples) : data.facts.train_samples;
    subjects_.push_back(costs_.describe(config, samples));
    attack_images_.push_back(trial.attack.empty() ? 0.0 : attack_images(data));
    plan_.trials.push_back(std::move(trial));
    return known->second;
  }

  // Notes on trials that are equal because they use different names of one law.
  std::vector<std::string> notes() const {
    std::vector<std::string> notes;
    for (const auto& [hash, same] : same_law_)
      if (same.labels.size() > 1)
        notes.push_back(fmt::format("equal in law, trained for one result: {} ({})", fmt::join(same.labels, " and "),
                                    fmt::join(same.reasons, "; ")));
    return notes;
  }

  // Call this after the last trial. Sets the rungs, all of which some trial has to reach.
  void set_halving() {
    if (!file_.halving) return;
    auto rule = file_.halving->rule;
    for (auto epochs = file_.halving->min_epochs; epochs > 0 && epochs < most_epochs_; epochs *= rule.factor)
      rule.rungs.push_back(epochs);
    if (rule.rungs.empty() || rule.rungs.back() >= most_epochs_)
      fail_input("{}: halving.{} = {}: no trial pauses after so many epochs: accepted: less than the {} of the longest",
                 file_.halving->place, file_.halving->min_epochs > 0 ? "min_epochs" : "rungs",
                 rule.rungs.empty() ? file_.halving->min_epochs : rule.rungs.back(), most_epochs_);
    plan_.halving = std::move(rule);
  }

  // Call this after the last trial. It computes the cost of each trial, and why there are fewer trials than
  // combinations.
  void finish() {
    learn_costs();
    std::size_t measured = 0;
    for (std::size_t i = 0; i < subjects_.size(); ++i) {
      const auto cost = costs_.estimate(subjects_[i]);
      plan_.trials[i].seconds = cost.seconds;
      if (attack_images_[i] > 0) plan_.trials[i].seconds += costs_.attack_seconds(subjects_[i], attack_images_[i]);
      measured += cost.measured ? 1 : 0;
    }
    plan_.notes = notes();
    plan_.cost_source = cost_source(measured, subjects_.size() - measured);
    for (const auto& [why, count] : merged_) plan_.merged.push_back(fmt::format("{} ({} merged)", why, count));
  }

 private:
  struct SameLaw {
    std::vector<std::string> labels;
    std::set<std::string> reasons;
  };

  // Refuses a metric that this trial does not have. Its evaluation depends on its deny loss and on its families of
  // keys.
  void note_metrics(const Config& config) {
    if (file_.halving) most_epochs_ = std::max(most_epochs_, config.train.epochs);
    auto figures = config.eval.families;
    figures.insert(figures.end(), {canonical(config).deny.mode, config.train.early_stop.metric});
    if (!figures_.insert(std::move(figures)).second) return;
    at_its_place([&] { check_early_stop(config); });
    if (!file_.halving) return;
    const auto place = fmt::format("{}: halving.metric", file_.halving->place);
    const auto attacks = plan_.attack ? example_attack_summary() : nlohmann::json();
    const auto objective = parse_objective(file_.halving->rule.metric, place);
    if (objective.uses_attack() && !plan_.attack)
      fail_input("{}: \"{}\" is a figure of an attack: accepted: with a table [attack]", place, objective.text);
    require_known(objective, sample_evaluation(config), attacks, place);
  }

  void note_law(const Config& config, const PlannedTrial& trial, const std::string& digest) {
    const auto first = with_first_names(config);
    auto& same = same_law_[first == config ? trial.hash : config_hash(first, digest)];
    same.labels.push_back(trial.label);
    for (const auto& reason : law_notes(config)) same.reasons.insert(reason);
  }

  // A dimension that makes no trials of its own is a mistake, because every combination would exist several times.
  void require_difference(const Dimension& dimension) {
    std::set<Settings> different;
    std::vector<std::string> keys;
    bool hashed = false, data = false;
    for (const auto& row : dimension.rows) {
      Settings identity;
      for (const auto& setting : row) {
        if (std::find(keys.begin(), keys.end(), setting.key) == keys.end()) keys.push_back(setting.key);
        hashed = hashed || is_hashed(setting.key);
        data = data || setting.key == data_key;
        if (is_hashed(setting.key)) identity.push_back(setting);
        if (setting.key == data_key) identity.push_back({setting.key, known_data(data_only(setting)).digest});
      }
      different.insert(std::move(identity));
      if (different.size() > 1) return;
    }
    if (dimension.rows.size() < 2) return;
    const auto why = hashed ? std::string("its values are all the same")
                     : data ? std::string("its files hold the same data")
                            : fmt::format("{} not part of what a trial is: {} not change its result",
                                          keys.size() == 1 ? "the key is" : "the keys are",
                                          keys.size() == 1 ? "it does" : "they do");
    fail_input("{}: axis {}: all {} values make one and the same trial, because {}; accepted: {}", dimension.place,
               fmt::join(keys, ", "), dimension.rows.size(), why,
               hashed || data ? "values that differ" : "one value for all trials, under [set]");
  }

  // Defaults but for data.file.
  Config data_only(const Setting& setting) const {
    try {
      auto config = parse_config("", "default", {setting.key + "=" + setting.value});
      make_data_path_absolute(config);
      return config;
    } catch (const Error& error) {
      throw Error(error.code(), at_place_of_sweep(error.what(), file_));
    }
  }

  void note_merged(const PlannedTrial& first, const PlannedTrial& again) {
    const auto keys = differing_keys(first.settings, again.settings);
    if (keys.empty()) ++merged_["the same settings more than once"];
    for (const auto& key : keys) {
      if (key == data_key)
        ++merged_["files of data.file with the same data"];
      else if (!is_hashed(key))
        ++merged_[key + " is not part of what a trial is: the first value is taken"];
      else
        ++merged_["settings of " + key + " that come to the same"];
    }
  }

  void learn_costs() {
    std::map<std::string, std::size_t> planned;
    for (std::size_t i = 0; i < plan_.trials.size(); ++i) planned.emplace(plan_.trials[i].hash, i);
    for (const auto& trial : finished_trials(plan_.store)) {
      // Only of trials of other sweeps the configuration has to be read.
      if (const auto ours = planned.find(trial.hash); ours != planned.end()) {
        learn_cost(subjects_[ours->second], trial);
        continue;
      }
      try {
        const auto path = RunDirectory{trial.run}.config();
        learn_cost(costs_.describe(parse_config(read_text(path), path.string()), 0), trial);
      } catch (const Error&) {
        continue;  // unreadable, so it gives no estimate and no error
      }
    }
  }

  void learn_cost(const CostModel::Subject& subject, const FinishedTrial& trial) {
    costs_.add_finished(subject, trial.seconds_per_epoch);
    if (plan_.attack && trial.attack_preset == plan_.attack->preset) costs_.add_attacked(subject, trial.attack_seconds);
  }

  static std::string cost_source(std::size_t measured, std::size_t by_rule) {
    if (by_rule == 0) return "from finished trials of the store";
    if (measured == 0) return "a rule of thumb: no trial of this kind is finished in the store";
    return fmt::format("{} trials from finished ones of the store, {} by a rule of thumb", measured, by_rule);
  }

  template <class Work>
  std::invoke_result_t<Work> at_its_place(Work&& work) const {
    try {
      return work();
    } catch (const Error& error) {
      throw Error(error.code(), at_place_of_sweep(error.what(), file_));
    }
  }

  double attack_images(const KnownData& data) const {
    if (!options_.attack_images) return 0.0;
    try {
      return options_.attack_images(*plan_.attack, data.facts.train_samples, data.test_samples);
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("{}: {}", file_.attack_place, error.what()));
    }
  }

  const KnownData& known_data(const Config& config) {
    const std::pair key(config.data.file, config.data.limit);
    const auto known = data_.find(key);
    if (known != data_.end()) return known->second;
    // Only the digest is needed here. Each trial checks the content when it starts.
    const auto dataset = Dataset::open(config.data.file, Verify::never);
    const auto& info = dataset->info();
    const DataFacts facts{info.sample_shape, info.classes, dataset->train().size};
    return data_.emplace(key, KnownData{digest_with_limit(*dataset, config.data.limit), facts, dataset->test().size})
        .first->second;
  }

  const SweepFile& file_;
  SweepPlan& plan_;
  const PlanOptions& options_;
  CostModel costs_;
  std::vector<CostModel::Subject> subjects_;                        // in step with the trials of the plan
  std::vector<double> attack_images_;                               // likewise; 0: not attacked
  std::map<std::pair<std::string, std::int64_t>, KnownData> data_;  // by file and data.limit
  std::map<std::string, SameLaw> same_law_;                         // by the hash of with_first_names()
  std::unordered_map<std::string, std::size_t> known_;              // position by id
  std::int64_t most_epochs_ = 0;                                    // of a trial
  std::set<std::vector<std::string>> figures_;  // what decides which figures there are, where it has been looked at
  std::map<std::string, std::int64_t> merged_;  // combinations, by why they are no trials of their own
};

void require_reasonable(const SweepFile& file, bool many_trials) {
  const auto count = combinations(file.grid);
  if (count > most_trials_unasked && !many_trials)
    fail_input("{}: {} trials: accepted: at most {}, or --yes where so many are meant", file.path.string(), count,
               most_trials_unasked);
}

// A plan without trials.
SweepPlan begin_plan(const SweepFile& file, const PlanOptions& options) {
  load_config(file.base);  // checked by itself first, so that no axis is blamed for its mistakes
  SweepPlan plan;
  plan.name = file.name;
  plan.base_name = file.base.string();
  plan.base_text = config_text(file.base);
  plan.directory = options.directory;
  plan.store =
      std::filesystem::absolute(file.store.empty() ? options.directory / "trials" : file.store).lexically_normal();
  require_utf8(plan.store.string(), "the folder of the trials");
  plan.max_hours = file.max_hours;
  plan.attack = file.attack;
  plan.sbatch = file.sbatch;
  return plan;
}

}  // namespace

SweepPlan make_plan(const SweepFile& file, const PlanOptions& options) {
  require_reasonable(file, options.many_trials);
  auto plan = begin_plan(file, options);
  auto rows = expand(file.grid);
  if (rows.empty())
    fail_input("{}: no trial is left: accepted: [[exclude]] that leaves at least one", file.path.string());
  if (file.max_trials > 0 && rows.size() > static_cast<std::size_t>(file.max_trials))
    rows.resize(static_cast<std::size_t>(file.max_trials));
  Planner planner(file, plan, options);
  plan.combinations = rows.size();
  for (const auto& row : rows) planner.add(row);
  planner.set_halving();
  planner.finish();
  return plan;
}

PlanOfRows make_plan_of(const SweepFile& file, const PlanOptions& options, const std::vector<Settings>& rows) {
  SPANKEY_CHECK(file.grid.dimensions.empty() && !file.halving);
  PlanOfRows made{begin_plan(file, options), {}};
  Planner planner(file, made.plan, options);
  made.plan.combinations = rows.size();
  for (const auto& row : rows) made.trial_of.push_back(planner.add(row));
  planner.finish();
  return made;
}

}  // namespace spankey
