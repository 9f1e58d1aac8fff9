#include "record/verdict.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

#include "config/names.h"
#include "record/result.h"

namespace spankey {
namespace {

constexpr double little = 0.25;  // share of what a correct key gives above chance
constexpr const char* no_key_name = "no key";

struct Tried {
  std::string name;
  const nlohmann::json* figures;
  bool derived;
};

// Returns the wrong keys of the test split. They are the families and the keys of another norm, which are Gaussian ones
// or scaled correct ones.
std::vector<Tried> tried_keys(const nlohmann::json& access) {
  std::vector<Tried> tried;
  const auto families = access.find("families");
  if (families != access.end() && families->is_object())
    for (const auto& [name, figures] : families->items())
      if (number_at(figures, "accuracy")) tried.push_back({name, &figures, is_derived_family(name)});
  const auto wrong = access.value("wrong_family", std::string(registry_names::key_families.front()));
  if (std::none_of(tried.begin(), tried.end(), [&](const Tried& one) { return one.name == wrong; }))
    tried.push_back({wrong, &access.at("wrong_key"), is_derived_family(wrong)});
  const auto sweep = access.find("norm_sweep");
  if (sweep == access.end()) return tried;
  for (const auto& row : *sweep) {
    const double norm = row.at("norm").get<double>();
    if (norm == 1.0) continue;
    tried.push_back({fmt::format("gaussian x {}", norm), &row.at("wrong_key"), false});
    if (const auto& correct = row.at("correct_key"); !correct.is_null())
      tried.push_back({fmt::format("correct key x {}", norm), &correct, true});
  }
  return tried;
}

double best(const nlohmann::json& figures, const char* name, bool single_keys) {
  const auto path = std::string(name);
  const double mean = number_at(figures, path).value_or(0.0);
  return single_keys ? std::max(mean, number_at(figures, path + ".max").value_or(0.0)) : mean;
}

// The first of equal readings stays, so ignoring the rejection is named only where it gives more.
void take_better(Reading& worst, const Reading& one) {
  if (worst.key.empty() || one.accuracy > worst.accuracy) worst = one;
}

void add_reading(Verdict& verdict, const Tried& tried, bool single_keys) {
  const auto reading = [&](const char* name, bool stripped) {
    return Reading{tried.name, stripped, !single_keys, best(*tried.figures, name, single_keys)};
  };
  const auto plain = reading("accuracy", false), strip = reading("strip_accuracy", true);
  const auto& better = strip.accuracy > plain.accuracy ? strip : plain;
  if (tried.derived) {
    if (!verdict.derived) verdict.derived.emplace();
    take_better(*verdict.derived, better);
    return;
  }
  take_better(verdict.wrong_key, better);
  take_better(verdict.worst, better);
  take_better(verdict.worst_as_shipped, plain);
  verdict.independent_keys += static_cast<std::int64_t>(number_at(*tried.figures, "accuracy.keys").value_or(1.0));
}

// Whoever knows the weights ignores a rejection anyway. "As shipped" counts for the others.
void add_attacks(Verdict& verdict, const nlohmann::json& access) {
  const auto attacks = access.find("attacks");
  if (attacks == access.end()) return;
  const auto count = [&](Reading& so_far, const char* name) {
    const auto& worst = attacks->at(name);
    if (worst.is_null()) return;
    Reading reading;
    reading.accuracy = worst.at("access").get<double>();
    reading.attack = true;
    for (const char* part : {"id", "name", "budget_text"})
      if (const auto text = worst.at(part).get<std::string>(); text != "-")
        reading.key += (reading.key.empty() ? "" : ", ") + text;
    take_better(so_far, reading);
  };
  count(verdict.worst, "worst_case");
  count(verdict.worst_as_shipped, "worst_case_as_shipped");
}

// A rejection is no answer. The class that is named tells about the label.
void note_below_chance(Verdict& verdict, const nlohmann::json& access, const std::vector<Tried>& tried) {
  const auto note = [&](const std::string& name, const nlohmann::json& figures) {
    const double strip = number_at(figures, "strip_accuracy").value_or(1.0);
    const bool rejects = strip > number_at(figures, "accuracy").value_or(0.0);
    if (is_below_chance(strip, verdict.chance, static_cast<double>(verdict.samples)))
      verdict.below_chance.push_back({name, rejects, /*mean=*/true, strip});
  };
  note(no_key_name, access.at("no_key"));
  for (const auto& one : tried) note(one.name, *one.figures);
}

// Anybody may answer the commonest class, so at most what lies between that and a correct key can be withheld.
Grade grade_of(const Verdict& v, double worst, bool of_answers) {
  const auto samples = static_cast<double>(v.samples);
  if (wilson(v.correct, samples).low <= v.chance) return Grade::at_chance;
  if (of_answers && is_below_chance(worst, v.minority.value_or(v.chance), samples)) return Grade::below_chance;
  if (difference_interval(v.correct, worst, samples).low <= 0) return Grade::does_not_decide;
  const double kept = v.correct - std::max(worst, v.chance);
  return kept >= little * (v.correct - v.chance) ? Grade::decides : Grade::decides_little;
}

nlohmann::json reading_json(const Reading& reading) {
  return {{"key", reading.key}, {"strip", reading.strip}, {"accuracy", reading.accuracy}};
}

std::string carries(double accuracy, const std::optional<double>& minority, double samples) {
  const bool sure = minority && is_below_chance(accuracy, *minority, samples);
  return sure ? "the answers carry the label" : "the answers carry the label or name a rarer class";
}

std::string carries(const Verdict& v, double accuracy) {
  return carries(accuracy, v.minority, static_cast<double>(v.samples));
}

std::string without_key(const Reading& reading) {
  return fmt::format("at most {:.3f} without a valid key ({})", reading.accuracy, reading.text());
}

std::string graded_sentence(const Verdict& v) {
  const auto without = without_key(v.worst);
  const auto with = fmt::format("{:.3f} with a correct one", v.correct);
  const auto gap = fmt::format("{:.3f} is withheld (95 %: {:.3f} to {:.3f})", v.withheld, v.withheld_interval.low,
                               v.withheld_interval.high);
  switch (v.grade) {
    case Grade::decides:
      return fmt::format("The key decides: accuracy is {}, {}; {}.", without, with, gap);
    case Grade::decides_little:
      return fmt::format("The key decides little: accuracy is {}, {}; {}.", without, with, gap);
    case Grade::does_not_decide:
      return fmt::format("The key does not decide: accuracy is {}, {}; {} samples show no advantage of it.", without,
                         with, v.samples);
    case Grade::at_chance:
      return fmt::format(
          "The network is at chance: {:.3f} is right with a correct key, {:.3f} by always answering the commonest "
          "class. There is nothing that a key could decide.",
          v.correct, v.chance);
    case Grade::below_chance:
      return fmt::format(
          "Below chance: {}. Accuracy is {}, {}, {:.3f} by always answering the commonest class: answers that are "
          "never the label "
          "tell about it, so not all of the difference is withheld.",
          carries(v, v.worst.accuracy), without, with, v.chance);
  }
  return {};
}

std::string shipped_sentence(const Verdict& v) {
  if (v.grade_as_shipped == v.grade || v.grade == Grade::at_chance || v.grade == Grade::below_chance) return {};
  return fmt::format(" To whoever runs the model as shipped, the key {}: accuracy is {}.",
                     v.grade_as_shipped == Grade::decides_little ? "decides little" : "decides",
                     without_key(v.worst_as_shipped));
}

std::string derived_sentence(const Verdict& v) {
  if (!v.derived) return {};
  return fmt::format(" Keys made of a valid one give up to {:.3f} ({}).", v.derived->accuracy, v.derived->text());
}

std::string below_chance_sentence(const Verdict& v) {
  if (v.below_chance.empty() || v.grade == Grade::below_chance) return {};
  std::vector<std::string> readings;
  double highest = 0.0;
  for (const auto& one : v.below_chance) {
    readings.push_back(fmt::format("{} {:.3f}", one.key, one.accuracy));
    highest = std::max(highest, one.accuracy);
  }
  const bool strip =
      std::any_of(v.below_chance.begin(), v.below_chance.end(), [](const auto& one) { return one.strip; });
  return fmt::format(" Below chance: {} ({}; always the commonest {:.3f}{}).", carries(v, highest),
                     fmt::join(readings, ", "), v.chance, strip ? "; rejection ignored" : "");
}

}  // namespace

std::string to_string(Grade grade) {
  switch (grade) {
    case Grade::decides:
      return "decides";
    case Grade::decides_little:
      return "decides little";
    case Grade::does_not_decide:
      return "does not decide";
    case Grade::at_chance:
      return "network at chance";
    case Grade::below_chance:
      return "below chance";
  }
  return {};
}

std::string Reading::text() const {
  if (attack) return "attack " + key;
  const bool as_it_is = key == no_key_name || key.starts_with("correct key");
  const auto name = as_it_is ? key : mean ? fmt::format("{} keys, mean", key) : fmt::format("best {} key", key);
  return name + (strip ? ", rejection ignored" : "");
}

std::string Verdict::text() const {
  return graded_sentence(*this) + shipped_sentence(*this) + derived_sentence(*this) + below_chance_sentence(*this);
}

bool is_below_chance(double accuracy, double chance, double samples) {
  return samples > 0 && wilson(accuracy, samples).high < chance;
}

std::string below_chance_remark(double accuracy, double chance, std::optional<double> minority, double samples) {
  return is_below_chance(accuracy, chance, samples) ? "below chance: " + carries(accuracy, minority, samples) : "";
}

Verdict judge_access(const nlohmann::json& access) {
  Verdict v;
  v.correct = number_at(access, "correct_key.accuracy").value_or(0.0);
  v.chance = number_at(access, "majority_rate").value_or(0.0);
  v.minority = number_at(access, "minority_rate");
  v.samples = static_cast<std::int64_t>(number_at(access, "test_samples").value_or(1.0));
  v.no_key = number_at(access, "no_key.accuracy").value_or(0.0);
  v.no_key_strip = number_at(access, "no_key.strip_accuracy").value_or(0.0);
  v.worst_as_shipped = {.key = no_key_name, .strip = false, .mean = false, .accuracy = v.no_key};
  v.worst = v.worst_as_shipped;
  take_better(v.worst, {.key = no_key_name, .strip = true, .mean = false, .accuracy = v.no_key_strip});
  const auto tried = tried_keys(access);
  const bool single_keys = !access.value("key_for_each_batch", false);
  for (const auto& one : tried) add_reading(v, one, single_keys);
  add_attacks(v, access);
  note_below_chance(v, access, tried);
  v.withheld = v.correct - v.worst.accuracy;
  v.withheld_interval = difference_interval(v.correct, v.worst.accuracy, static_cast<double>(v.samples));
  v.withheld_as_shipped = v.correct - v.worst_as_shipped.accuracy;
  v.grade = grade_of(v, v.worst.accuracy, /*of_answers=*/true);
  v.grade_as_shipped = grade_of(v, v.worst_as_shipped.accuracy, /*of_answers=*/false);
  return v;
}

nlohmann::json to_json(const Verdict& v) {
  nlohmann::json below = nlohmann::json::array();
  for (const auto& one : v.below_chance) below.push_back(reading_json(one));
  return {{"grade", to_string(v.grade)},
          {"text", v.text()},
          {"correct_key", v.correct},
          {"no_key", v.no_key},
          {"no_key_strip", v.no_key_strip},
          {"wrong_key", v.wrong_key.accuracy},
          {"worst", reading_json(v.worst)},
          {"worst_as_shipped", reading_json(v.worst_as_shipped)},
          {"derived_key", v.derived ? reading_json(*v.derived) : nlohmann::json()},
          {"withheld", v.withheld},
          {"withheld_ci95", {v.withheld_interval.low, v.withheld_interval.high}},
          {"withheld_as_shipped", v.withheld_as_shipped},
          {"chance", v.chance},
          {"samples", v.samples},
          {"independent_keys", v.independent_keys},
          {"below_chance", std::move(below)}};
}

}  // namespace spankey
