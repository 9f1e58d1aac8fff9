#include "record/result.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "config/names.h"
#include "record/verdict.h"

namespace spankey {
namespace {

std::string number_or_dash(const nlohmann::json& value) {
  return value.is_number() ? fmt::format("{:.3f}", value.get<double>()) : "-";
}

std::string mean_or_dash(const nlohmann::json& figure) {
  return number_or_dash(figure.is_null() ? figure : figure.at("mean"));
}

double statistic(const nlohmann::json& figures, const char* figure, const char* which) {
  return figures.at(figure).at(which).get<double>();
}

// Looks at the answers that name a class, because a rejection tells nothing about the label.
std::string chance_mark(const nlohmann::json& report, double strip_accuracy) {
  const bool below = is_below_chance(strip_accuracy, report.at("majority_rate").get<double>(),
                                     report.at("test_samples").get<double>());
  return below ? "  below chance" : "";
}

std::string key_row(const char* name, const nlohmann::json& figures, bool worst_is_high, const std::string& mark) {
  const auto spread_text = worst_is_high ? fmt::format("max {:.3f}", statistic(figures, "accuracy", "max"))
                                         : fmt::format("+- {:.3f}", statistic(figures, "accuracy", "sd"));
  return fmt::format("  {:<11} {:>11} {:>8.3f}  {:<9}  {:>8}   {:>8.3f}{}\n", name,
                     fmt::format("({})", counted(figures.at("accuracy").at("keys").get<std::int64_t>(), "key")),
                     statistic(figures, "accuracy", "mean"), spread_text, mean_or_dash(figures.at("reject_fraction")),
                     statistic(figures, "strip_accuracy", "mean"), mark);
}

// `marked` says that the figures are of the split whose samples the report counts.
std::string split_rows(const nlohmann::json& access, const nlohmann::json& report, bool marked) {
  const auto mark = [&](double strip) { return marked ? chance_mark(report, strip) : std::string(); };
  const auto& none = access.at("no_key");
  const double none_strip = none.at("strip_accuracy").get<double>();
  const auto& correct = access.at("correct_key");
  return fmt::format("  {:<23} {:>8.3f}  {:<9}  {:>8}   {:>8.3f}{}\n", "no key", none.at("accuracy").get<double>(), "",
                     number_or_dash(none.at("reject_fraction")), none_strip, mark(none_strip)) +
         (correct.is_null()
              ? ""
              : key_row("correct key", correct, false, mark(statistic(correct, "strip_accuracy", "mean")))) +
         key_row("wrong key", access.at("wrong_key"), true,
                 mark(statistic(access.at("wrong_key"), "strip_accuracy", "mean")));
}

std::string family_rows(const nlohmann::json& report) {
  auto text = fmt::format("{:<17}{:>8} {:>7} {:>7} {:>7} {:>7}  {:>8}   {}\n", "wrong keys", "accuracy", "sd", "min",
                          "max", "keys", "rejected", "strip accuracy");
  bool any_derived = false;
  for (const auto& [name, figures] : report.at("families").items()) {
    const bool derived = is_derived_family(name);
    const double strip = statistic(figures, "strip_accuracy", "mean");
    text += fmt::format("  {:<15}{:>8.3f} {:>7.3f} {:>7.3f} {:>7.3f} {:>7}  {:>8}   {:>8.3f}{}\n",
                        name + (derived ? "*" : ""), statistic(figures, "accuracy", "mean"),
                        statistic(figures, "accuracy", "sd"), statistic(figures, "accuracy", "min"),
                        statistic(figures, "accuracy", "max"), figures.at("accuracy").at("keys").get<int>(),
                        mean_or_dash(figures.at("reject_fraction")), strip, chance_mark(report, strip));
    any_derived |= derived;
  }
  return text + (any_derived ? "  * made of a valid key: only its holder can make one\n" : "");
}

// Returns the best of each kind, as shipped or with the rejection ignored.
std::string worst_rows(const Verdict& verdict) {
  auto text = fmt::format("worst case: {:.3f} ({})\n", verdict.worst.accuracy, verdict.worst.text());
  if (verdict.derived)
    text += fmt::format("worst case of keys made of a valid one: {:.3f} ({})\n", verdict.derived->accuracy,
                        verdict.derived->text());
  return text;
}

std::string norm_rows(const nlohmann::json& sweep) {
  auto text =
      fmt::format("{:<17}{:^28}  {:>20}\n{:<17}{:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}\n", "", "correct key",
                  "Gaussian key", "norm of keys", "accuracy", "rejected", "strip", "accuracy", "rejected", "strip");
  for (const auto& row : sweep) {
    text += fmt::format("  x {:<13}", row.at("norm").get<double>());
    for (const char* kind : {"correct_key", "wrong_key"}) {
      const auto& figures = row.at(kind);
      if (figures.is_null())
        text += fmt::format("{:>8}  {:>8}  {:>8}  ", "-", "-", "-");
      else
        text += fmt::format("{:>8.3f}  {:>8}  {:>8.3f}  ", statistic(figures, "accuracy", "mean"),
                            mean_or_dash(figures.at("reject_fraction")), statistic(figures, "strip_accuracy", "mean"));
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += "\n";
  }
  return text;
}

// Returns nothing where no factor is cut off.
std::string saturation_row(const nlohmann::json& saturation) {
  double most = 0;
  for (const auto& kind : saturation)
    for (const auto& share : kind) most = std::max(most, share.get<double>());
  if (most == 0) return "";
  std::string text = "factors of the keys at their bounds 0.1 / 2:";
  for (const auto& [name, kind] : {std::pair{"correct key", "correct_key"}, std::pair{"wrong key", "wrong_key"}})
    text += fmt::format("{} {} {:.1f} % / {:.1f} %", text.back() == ':' ? "" : ",", name,
                        100 * saturation.at(kind).at("low").get<double>(),
                        100 * saturation.at(kind).at("high").get<double>());
  return text + "\n";
}

// Checks what a result of any version has, and what an earlier one may lack. Returns the first fault, empty where there
// is none.
std::string fault_of(const nlohmann::json& result) {
  std::vector<const char*> wanted{
      "no_key.accuracy",           "no_key.strip_accuracy",   "correct_key.accuracy",       "correct_key.accuracy.sd",
      "correct_key.accuracy.keys", "wrong_key.accuracy",      "correct_key.strip_accuracy", "wrong_key.accuracy.max",
      "wrong_key.accuracy.keys",   "wrong_key.strip_accuracy"};
  if (result.contains("train"))
    wanted.insert(wanted.end(), {"train.no_key.accuracy", "train.correct_key.accuracy", "train.wrong_key.accuracy"});
  for (const char* path : wanted) {
    const auto value = number_at(result, path);
    if (!value) return fmt::format("{} is missing or no number", path);
    const bool share = !std::string_view(path).ends_with(".keys");
    if (share && (*value < 0 || *value > 1)) return fmt::format("{} = {} is no share", path, *value);
  }
  if (!result.value("majority_rate", nlohmann::json()).is_number()) return "majority_rate is missing or no number";
  const auto samples = result.value("test_samples", nlohmann::json());
  if (!samples.is_number_integer() || samples.get<std::int64_t>() < 1)
    return "test_samples is missing or no whole number above 0";
  if (const auto text = result.find("wrong_family"); text != result.end() && !text->is_string())
    return "wrong_family is no text";
  if (const auto flag = result.find("key_for_each_batch"); flag != result.end() && !flag->is_boolean())
    return "key_for_each_batch is neither true nor false";
  return {};
}

}  // namespace

std::optional<double> number_at(const nlohmann::json& result, std::string_view path) {
  const auto* node = &result;
  while (!path.empty()) {
    const auto dot = path.find('.');
    const std::string name(path.substr(0, dot));
    if (!node->is_object() || !node->contains(name)) return std::nullopt;
    node = &node->at(name);
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  }
  if (node->is_object()) return number_at(*node, "mean");
  return node->is_number() ? std::optional(node->get<double>()) : std::nullopt;
}

nlohmann::json read_result(const std::filesystem::path& file, const Config& config) {
  auto whole = read_json_if_whole(file);
  if (!whole) fail_input("{}: expected JSON, an object of figures", file.string());
  auto result = *std::move(whole);
  if (const auto fault = fault_of(result); !fault.empty()) fail_input("{}: {}", file.string(), fault);
  result.emplace("key_for_each_batch", config.eval.keys == 0);
  return result;
}

nlohmann::json last_evaluation(const std::filesystem::path& metrics, const Config& config) {
  nlohmann::json last;
  std::ifstream file(metrics);
  for (std::string text; std::getline(file, text);) {
    auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    const bool whole = number_at(line, "epoch") && number_at(line, "global_step") && fault_of(line).empty();
    if (whole) last = std::move(line);
  }
  if (!last.is_null()) last.emplace("key_for_each_batch", config.eval.keys == 0);
  return last;
}

std::string access_table(const nlohmann::json& report) {
  const auto title = fmt::format("{} test samples", report.at("test_samples").get<std::int64_t>());
  auto text = fmt::format("{:<26}{:>8}  {:<9}  {:>8}   {}\n", title, "accuracy", "", "rejected",
                          "strip accuracy (rejection ignored)");
  text += split_rows(report, report, true);
  text += fmt::format("  {:<23} {:>8.3f}\n", "always the commonest", report.at("majority_rate").get<double>());
  if (report.contains("train")) text += "on the training split\n" + split_rows(report.at("train"), report, false);
  const auto verdict = judge_access(report);
  const bool valid_keys = !report.at("correct_key").is_null();
  // Results of earlier versions have no families and no saturation.
  if (const auto families = report.find("families"); families != report.end() && families->size() > 1)
    text += family_rows(report) + worst_rows(verdict);
  else if (report.contains("attacks") || !valid_keys)
    text += worst_rows(verdict);
  if (const auto sweep = report.find("norm_sweep"); sweep != report.end()) text += norm_rows(*sweep);
  if (const auto saturation = report.find("multiplier_saturation");
      saturation != report.end() && !saturation->is_null())
    text += saturation_row(*saturation);
  return text + (valid_keys ? verdict.text() : "What a correct key gives is unknown without the basis.") + "\n";
}

}  // namespace spankey
