#include "record/requirement.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <regex>
#include <string_view>

#include "base/error.h"
#include "config/config.h"
#include "record/result.h"

namespace spankey {
namespace {

constexpr std::array<std::string_view, 5> comparisons = {">=", "<=", "==", ">", "<"};  // the longer ones first

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t");
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

std::optional<double> number_of(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const bool whole = !text.empty() && *end == '\0' && std::isfinite(value);
  return whole ? std::optional(value) : std::nullopt;
}

Requirement parse_term(const std::string& term, const std::string& expression) {
  for (const auto comparison : comparisons) {
    const auto at = term.find(comparison);
    if (at == std::string::npos) continue;
    const auto quantity = trimmed(term.substr(0, at));
    const auto number = number_of(trimmed(term.substr(at + comparison.size())));
    if (quantity.empty() || quantity.find_first_of(" \t<>=!") != std::string::npos || !number) break;
    return {quantity, std::string(comparison), *number};
  }
  fail_input(
      "--require \"{}\": \"{}\" cannot be read; accepted: QUANTITY OP NUMBER with OP one of >= > <= < ==, joined by "
      "and, for example \"withheld >= 0.2 and no_key.strip_accuracy < 0.15\"",
      expression, trimmed(term));
}

constexpr std::string_view attacks_prefix = "attacks.", price = "attacks.price";

// What is known of a quantity: it lies between these.
struct Known {
  double low, high;
};

std::optional<Known> value_of(const nlohmann::json& evaluation, const std::string& quantity) {
  if (const auto value = quantity_at(evaluation, quantity)) return Known{*value, *value};
  const auto attacks = evaluation.find("attacks");
  if (quantity != price || attacks == evaluation.end() || !attacks->is_object() || !attacks->value("priced", false))
    return std::nullopt;
  return Known{attacks->at("most_labels").get<double>() + 1.0, HUGE_VAL};
}

std::string text_of(const Known& value) {
  return std::isinf(value.high) ? fmt::format("more than {:g}", value.low - 1.0) : fmt::format("{:.6g}", value.low);
}

void add_names(const nlohmann::json& node, const std::string& path, std::vector<std::string>& names) {
  if (node.is_number()) names.push_back(path);
  if (!node.is_object()) return;
  for (const auto& [name, child] : node.items()) add_names(child, path.empty() ? name : path + "." + name, names);
}

// Rounds, so that a difference of two shares that is 0.2 on paper is 0.2 here.
double rounded(double value) {
  constexpr double last_digit = 1e12;
  return std::round(value * last_digit) / last_digit;
}

bool holds(double value, const std::string& comparison, double number) {
  if (comparison == ">=") return value >= number;
  if (comparison == "<=") return value <= number;
  if (comparison == "==") return value == number;
  return comparison == ">" ? value > number : value < number;
}

}  // namespace

std::optional<double> quantity_at(const nlohmann::json& evaluation, const std::string& quantity) {
  const auto direct = number_at(evaluation, quantity);
  return direct ? direct : number_at(evaluation, "verdict." + quantity);
}

std::vector<std::string> quantity_names(const nlohmann::json& evaluation) {
  std::vector<std::string> names;
  add_names(evaluation, "", names);
  if (const auto verdict = evaluation.find("verdict"); verdict != evaluation.end()) add_names(*verdict, "", names);
  return names;
}

std::vector<Requirement> parse_requirements(const std::vector<std::string>& expressions) {
  static const std::regex conjunction(R"(\s+and\s+)", std::regex::icase);
  std::vector<Requirement> requirements;
  for (auto expression : expressions) {
    std::replace_if(
        expression.begin(), expression.end(), [](unsigned char c) { return c < ' '; }, ' ');
    if (trimmed(expression).empty()) parse_term("", expression);
    for (std::sregex_token_iterator term(expression.begin(), expression.end(), conjunction, -1), end; term != end;
         ++term)
      requirements.push_back(parse_term(term->str(), expression));
  }
  return requirements;
}

void require_known(const std::vector<Requirement>& requirements, const nlohmann::json& evaluation) {
  for (const auto& one : requirements) {
    if (value_of(evaluation, one.quantity)) continue;
    const auto near = nearest(one.quantity, quantity_names(evaluation));
    fail_input(
        "--require: \"{}\" is none of the numbers that this evaluation measures{}; accepted: withheld, "
        "withheld_as_shipped, correct_key.accuracy.mean, no_key.strip_accuracy and every other number of eval --json, "
        "attacks.worst_case.access and others of spankey attack",
        one.quantity, near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
  }
}

void require_attack_figures(const std::vector<Requirement>& requirements, const nlohmann::json& summary,
                            const std::string& run) {
  for (const auto& one : requirements) {
    if (!one.quantity.starts_with(attacks_prefix) || value_of({{"attacks", summary}}, one.quantity)) continue;
    if (summary.is_null())
      fail_input("--require: {}: no attack on these weights has been measured; accepted after: spankey attack {}",
                 one.quantity, run);
    fail_input(
        "--require: {}: {}/attack/attack.json has no such figure; accepted after attacks that measure it, such "
        "as: spankey attack {} --preset standard",
        one.quantity, run, run);
  }
}

std::string unmet(const std::vector<Requirement>& requirements, const nlohmann::json& evaluation) {
  std::vector<std::string> missed;
  for (const auto& [quantity, comparison, number] : requirements) {
    const auto value = value_of(evaluation, quantity);
    SPANKEY_CHECK(value.has_value());
    if (!holds(rounded(value->low), comparison, rounded(number)) ||
        !holds(rounded(value->high), comparison, rounded(number)))
      missed.push_back(fmt::format("{} {} {}, measured {}", quantity, comparison, number, text_of(*value)));
  }
  return missed.empty() ? "" : fmt::format("required, and not met: {}", fmt::join(missed, "; "));
}

}  // namespace spankey
