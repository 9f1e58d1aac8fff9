#include "record/objective.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "config/config.h"
#include "config/value.h"
#include "record/attack_record.h"
#include "record/requirement.h"
#include "record/result.h"

namespace spankey {
namespace {

constexpr std::string_view attack_prefix = "attacks.";
constexpr const char* step_figures[] = {"loss", "ce", "deny"};

bool is_of_attack(const std::string& quantity) {
  return quantity.starts_with(attack_prefix);
}

std::optional<double> quantity_of(const std::string& quantity, const nlohmann::json& evaluation,
                                  const nlohmann::json& attacks) {
  const auto value = is_of_attack(quantity) ? number_at(attacks, quantity.substr(attack_prefix.size()))
                                            : quantity_at(evaluation, quantity);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

// Names as a user would write them, where ".mean" may be left out.
std::vector<std::string> known_names(const nlohmann::json& evaluation, const nlohmann::json& attacks) {
  constexpr std::string_view mean = ".mean";
  auto names = quantity_names(evaluation);
  for (const auto& name : quantity_names(attacks)) names.push_back(std::string(attack_prefix) + name);
  for (auto& name : names)
    if (name.ends_with(mean)) name.resize(name.size() - mean.size());
  return names;
}

}  // namespace

bool Objective::uses_attack() const {
  return std::any_of(terms.begin(), terms.end(), [](const Term& term) { return is_of_attack(term.quantity); });
}

Objective parse_objective(const std::string& text, const std::string& place) {
  Objective objective{text, {}};
  std::istringstream words(text);
  double factor = 1.0;
  bool wants_name = true, whole = true;
  for (std::string word; whole && words >> word; wants_name = !wants_name) {
    const bool sign = word == "+" || word == "-";
    whole = sign != wants_name;
    if (sign)
      factor = word == "-" ? -1.0 : 1.0;
    else
      objective.terms.push_back({factor, word});
  }
  if (!whole || wants_name)
    fail_input(
        "{}: \"{}\" cannot be read; accepted: a figure of an evaluation, or several with \" + \" or \" - \" between "
        "them, such as \"correct_key.accuracy - wrong_key.accuracy.max\"",
        place, text);
  return objective;
}

std::optional<double> value_of(const Objective& objective, const nlohmann::json& evaluation,
                               const nlohmann::json& attacks) {
  double sum = 0.0;
  for (const auto& [factor, quantity] : objective.terms) {
    const auto value = quantity_of(quantity, evaluation, attacks);
    if (!value) return std::nullopt;
    sum += factor * *value;
  }
  return sum;
}

void require_known(const Objective& objective, const nlohmann::json& evaluation, const nlohmann::json& attacks,
                   const std::string& place) {
  for (const auto& [factor, quantity] : objective.terms) {
    if (quantity_of(quantity, evaluation, attacks)) continue;
    fail_input(
        "{}: no run writes \"{}\"; accepted: correct_key.accuracy, no_key.strip_accuracy, withheld and other "
        "numbers of an evaluation{}{}",
        place, quantity, attacks.is_null() ? "" : ", attacks.worst_case.access and other figures of the attack",
        did_you_mean(nearest(quantity, known_names(evaluation, attacks))));
  }
}

nlohmann::json evaluation_after(const std::filesystem::path& metrics, std::int64_t epochs) {
  nlohmann::json step;
  std::ifstream file(metrics);
  for (std::string text; std::getline(file, text);) {
    auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    const auto epoch = number_at(line, "epoch");
    if (!epoch) continue;
    const auto kind = line.value("kind", std::string());
    if (kind == "step") step = std::move(line);
    if (kind != "eval" || *epoch + 1 < static_cast<double>(epochs)) continue;
    for (const char* name : step_figures)
      if (const auto value = number_at(step, name)) line[name] = *value;
    return line;
  }
  return nullptr;
}

nlohmann::json newest_attack_summary(const RunDirectory& run) {
  const auto path = run.attack() / "attack.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return nullptr;
  try {
    return attack_summary(read_json(path));
  } catch (const std::exception&) {
    return nullptr;
  }
}

}  // namespace spankey
