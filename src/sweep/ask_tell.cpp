#include "sweep/ask_tell.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/lease.h"
#include "config/toml_file.h"
#include "config/value.h"
#include "record/attack_record.h"

namespace spankey {
namespace {

// JSON's numbers, strings, truths and lists as TOML text.
std::string toml_text(const nlohmann::json& value, const std::string& place) {
  if (value.is_boolean()) return value_text(value.get<bool>());
  if (value.is_number_integer()) return value_text(value.get<std::int64_t>());
  if (value.is_number_float()) return value_text(value.get<double>());
  if (value.is_string()) return value_text(value.get<std::string>());
  if (!value.is_array())
    fail_input("{} = {}: accepted: a number, a string, true, false, or a list of these", place, shown(value.dump()));
  std::string text;
  for (const auto& element : value) text += (text.empty() ? "" : ", ") + toml_text(element, place);
  return "[" + text + "]";
}

std::vector<Settings> read_wishes(const std::string& text, const std::string& name) {
  constexpr const char* accepted = "an object such as {\"key.gamma\": 0.5}, or a list of at least one";
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object()) json = nlohmann::json::array({json});
  if (!json.is_array() || json.empty()) fail_input("{}: accepted: {}", name, accepted);
  std::vector<Settings> rows;
  for (const auto& wish : json) {
    if (!wish.is_object() || wish.empty()) fail_input("{}: {}: accepted: {}", name, shown(wish.dump()), accepted);
    auto& row = rows.emplace_back();
    for (const auto& [key, value] : wish.items())
      row.push_back({key, toml_text(value, fmt::format("{}: {}", name, shown(key)))});
  }
  return rows;
}

nlohmann::json settings_json(const Settings& settings) {
  auto json = nlohmann::json::object();
  for (const auto& [key, value] : settings) {
    const auto typed = typed_value(value);
    const auto& node = *typed.get("value");
    if (const auto* text = node.as_string())
      json[key] = text->get();
    else
      json[key] = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
    if (json[key].is_discarded()) json[key] = value;
  }
  return json;
}

// `name` is where the rows come from, which errors about their keys name.
PlanOfRows plan_of(SweepFile file, const PlanOptions& options, const std::vector<Settings>& rows,
                   const std::string& name) {
  for (const auto& row : rows)
    for (const auto& [key, value] : row) {
      if (const auto known = file.grid.places.find(key); known != file.grid.places.end() && known->second != name)
        fail_input("{}: {} = {}: {} sets this key; accepted: keys that the sweep does not set", name, key, value,
                   known->second);
      file.grid.places[key] = name;
    }
  return make_plan_of(file, options, rows);
}

}  // namespace

std::string ask_for_trials(const SweepFile& file, const PlanOptions& options, const std::string& wishes,
                           const std::string& name) {
  if (!file.grid.dimensions.empty() || !file.grid.exclude.empty() || file.halving || file.max_trials > 0)
    fail_input(
        "{}: has trials or limits of its own; accepted with ask: [sweep] without seeds, [set], [attack] and "
        "budget.max_hours",
        file.path.string());
  const auto asked = plan_of(file, options, read_wishes(wishes, name), name);
  make_writable_folder(options.directory);
  const Lease lease(options.directory);  // two that ask at once would lose trials
  std::error_code error;
  auto plan = asked.plan;
  plan.trials.clear();
  if (std::filesystem::exists(plan_path(options.directory), error)) plan.trials = load_plan(options.directory).trials;
  auto told = nlohmann::json::array();
  for (const auto wanted : asked.trial_of) {
    const auto& trial = asked.plan.trials[wanted];
    const bool known = std::any_of(plan.trials.begin(), plan.trials.end(),
                                   [&](const PlannedTrial& other) { return other.id == trial.id; });
    told.push_back({{"id", trial.id}, {"settings", settings_json(trial.settings)}, {"new", !known}});
    if (!known) plan.trials.push_back(trial);
  }
  save_plan(plan, options.directory);
  return nlohmann::json{{"trials", std::move(told)}}.dump(1) + "\n";
}

std::string tell_of_trials(const SweepPlan& plan, const Ledger& ledger, const Objective& objective) {
  auto trials = nlohmann::json::array();
  const auto entries = ledger.read_all(plan);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& trial = plan.trials[i];
    const auto run = ledger.run_directory(trial.id);
    std::optional<double> value;
    if (entries[i].state == TrialState::done) {
      const auto result = read_json_if_whole(run.result());
      if (result) value = value_of(objective, *result, newest_attack_summary(run));
    }
    trials.push_back({{"id", trial.id},
                      {"settings", settings_json(trial.settings)},
                      {"state", to_string(entries[i].state)},
                      {"value", value ? nlohmann::json(*value) : nlohmann::json()},
                      {"reason", entries[i].reason},
                      {"run_directory", run.root.string()}});
  }
  return nlohmann::json{{"metric", objective.text}, {"trials", std::move(trials)}}.dump(1) + "\n";
}

}  // namespace spankey
