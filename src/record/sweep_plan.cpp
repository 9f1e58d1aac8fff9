#include "record/sweep_plan.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

namespace spankey {
namespace {

std::vector<std::string> overrides_of(const Settings& settings) {
  std::vector<std::string> overrides;
  for (const auto& [key, value] : settings) overrides.push_back(key + "=" + value);
  return overrides;
}

SweepAttack attack_from_json(const nlohmann::json& json) {
  return {.preset = json.at("preset").get<std::string>(),
          .ids = json.at("attacks").get<std::vector<std::string>>(),
          .images = json.at("images").get<std::vector<std::int64_t>>(),
          .seeds = json.at("seeds").get<std::int64_t>()};
}

nlohmann::json to_json(const SweepAttack& attack) {
  return {{"preset", attack.preset}, {"attacks", attack.ids}, {"images", attack.images}, {"seeds", attack.seeds}};
}

SweepHalving halving_from_json(const nlohmann::json& json) {
  return {.metric = json.at("metric").get<std::string>(),
          .maximise = json.at("goal") != "min",
          .rungs = json.at("rungs").get<std::vector<std::int64_t>>(),
          .factor = std::max<std::int64_t>(2, json.at("factor").get<std::int64_t>())};
}

nlohmann::json to_json(const SweepHalving& halving) {
  return {
      {"metric", halving.metric}, {"goal", goal_word(halving)}, {"rungs", halving.rungs}, {"factor", halving.factor}};
}

SweepPlan from_json(const nlohmann::json& json) {
  SweepPlan plan;
  plan.name = json.at("name").get<std::string>();
  plan.base_name = json.at("base").get<std::string>();
  plan.base_text = json.at("base_text").get<std::string>();
  plan.store = json.at("store").get<std::string>();
  plan.max_hours = json.at("max_hours").get<double>();
  if (const auto attack = json.find("attack"); attack != json.end()) plan.attack = attack_from_json(*attack);
  plan.sbatch = json.value("sbatch", std::vector<std::string>());
  if (const auto halving = json.find("halving"); halving != json.end()) plan.halving = halving_from_json(*halving);
  plan.cost_source = json.at("cost_source").get<std::string>();
  for (const auto& entry : json.at("trials")) {
    PlannedTrial trial;
    trial.id = entry.at("id").get<std::string>();
    trial.hash = entry.at("hash").get<std::string>();
    for (const auto& pair : entry.at("settings"))
      trial.settings.push_back({pair.at(0).get<std::string>(), pair.at(1).get<std::string>()});
    trial.label = entry.at("label").get<std::string>();
    trial.seconds = entry.at("seconds").get<double>();
    trial.attack = entry.value("attack", std::string());
    trial.epochs = entry.value("epochs", std::int64_t{0});
    plan.trials.push_back(std::move(trial));
  }
  return plan;
}

bool same_trials(const SweepPlan& a, const SweepPlan& b) {
  return a.name == b.name && a.base_text == b.base_text && a.store == b.store && a.max_hours == b.max_hours &&
         a.attack == b.attack && a.halving == b.halving && a.sbatch == b.sbatch &&
         std::equal(a.trials.begin(), a.trials.end(), b.trials.begin(), b.trials.end(),
                    [](const auto& x, const auto& y) {
                      return x.id == y.id && x.settings == y.settings && x.attack == y.attack;
                    });
}

}  // namespace

std::vector<std::string> options_of(const SweepAttack& attack) {
  std::vector<std::string> options{"--preset", attack.preset};
  const auto add = [&](const char* name, std::string value) {
    options.emplace_back(name);
    options.push_back(std::move(value));
  };
  if (!attack.ids.empty()) add("--attacks", fmt::format("{}", fmt::join(attack.ids, ",")));
  if (!attack.images.empty()) add("--images", fmt::format("{}", fmt::join(attack.images, ",")));
  if (attack.seeds > 0) add("--seeds", fmt::format("{}", attack.seeds));
  return options;
}

const char* goal_word(const SweepHalving& halving) {
  return halving.maximise ? "max" : "min";
}

std::string settings_text(const Settings& settings) {
  std::string text;
  for (const auto& [key, value] : settings) text += (text.empty() ? "" : " ") + key + "=" + value;
  return text;
}

void make_data_path_absolute(Config& config) {
  if (config.data.file.starts_with("builtin:")) return;
  config.data.file = std::filesystem::absolute(config.data.file).lexically_normal().string();
  require_utf8(config.data.file, "data.file");  // the folder that it is relative to may be anything
}

Config trial_config(const SweepPlan& plan, const PlannedTrial& trial) {
  auto config = canonical(parse_config(plan.base_text, plan.base_name, overrides_of(trial.settings)));
  make_data_path_absolute(config);
  return config;
}

// Each trial is one line, which is a tenth of the text of indented lists.
std::string plan_json(const SweepPlan& plan) {
  nlohmann::json head{{"name", plan.name},           {"base", plan.base_name},
                      {"base_text", plan.base_text}, {"store", plan.store.string()},
                      {"max_hours", plan.max_hours}, {"cost_source", plan.cost_source}};
  if (plan.attack) head["attack"] = to_json(*plan.attack);
  if (!plan.sbatch.empty()) head["sbatch"] = plan.sbatch;
  if (plan.halving) head["halving"] = to_json(*plan.halving);
  auto text = head.dump(1);
  text.resize(text.rfind('\n'));  // without the bracket that closes it
  text += ",\n \"trials\": [";
  const char* separator = "\n";
  for (const auto& trial : plan.trials) {
    auto settings = nlohmann::json::array();
    for (const auto& [key, value] : trial.settings) settings.push_back({key, value});
    nlohmann::json line{{"id", trial.id},
                        {"hash", trial.hash},
                        {"settings", std::move(settings)},
                        {"label", trial.label},
                        {"seconds", trial.seconds}};
    if (!trial.attack.empty()) line["attack"] = trial.attack;
    if (trial.epochs > 0) line["epochs"] = trial.epochs;
    text += std::exchange(separator, ",\n") + line.dump();
  }
  return text + "\n ]\n}\n";
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
  auto plan = parse_plan(read_text(path), path.string());
  plan.directory = directory;
  return plan;
}

}  // namespace spankey
