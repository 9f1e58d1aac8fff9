#include "train/access_report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

#include "train/statistics.h"

namespace spankey {
namespace {

nlohmann::json quantiles(const std::vector<double>& values) {
  nlohmann::json json;
  for (const int percent : {5, 25, 50, 75, 95})
    json[fmt::format("q{:02}", percent)] = quantile(values, static_cast<double>(percent) / 100.0);
  return json;
}

// The mean is weighted by samples (the accuracy over all of them), the rest is over keys as they are.
nlohmann::json spread(const std::vector<double>& values, const std::vector<double>& weights) {
  double total = 0.0, sum = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += weights[i] * values[i];
    total += weights[i];
  }
  const bool several = values.size() > 1;
  const Summary over_keys = summarise(values);
  const Interval interval = t_interval(values);
  return {{"mean", sum / total},
          {"sd", several ? over_keys.sd : 0.0},
          {"min", over_keys.min},
          {"max", over_keys.max},
          {"keys", values.size()},
          {"quantiles", quantiles(values)},
          {"ci95", several ? nlohmann::json{interval.low, interval.high} : nlohmann::json()}};
}

nlohmann::json keys_to_json(const KeyAccess& keys) {
  std::vector<double> accuracy, strip, reject, weights;
  for (const auto& key : keys) {
    accuracy.push_back(key.accuracy);
    strip.push_back(key.strip_accuracy);
    if (key.reject_fraction) reject.push_back(*key.reject_fraction);
    weights.push_back(key.samples);
  }
  return {{"accuracy", spread(accuracy, weights)},
          {"strip_accuracy", spread(strip, weights)},
          {"reject_fraction", reject.empty() ? nlohmann::json() : spread(reject, weights)}};
}

nlohmann::json saturation_to_json(const AccessReport& report) {
  if (!report.correct_saturation || !report.wrong_saturation) return nullptr;
  const auto shares = [](const Saturation& s) { return nlohmann::json{{"low", s.low}, {"high", s.high}}; };
  return {{"correct_key", shares(*report.correct_saturation)}, {"wrong_key", shares(*report.wrong_saturation)}};
}

std::string number_or_dash(const nlohmann::json& value) {
  return value.is_number() ? fmt::format("{:.3f}", value.get<double>()) : "-";
}

std::string mean_or_dash(const nlohmann::json& figure) {
  return number_or_dash(figure.is_null() ? figure : figure.at("mean"));
}

double statistic(const nlohmann::json& figures, const char* figure, const char* which) {
  return figures.at(figure).at(which).get<double>();
}

std::string key_row(const char* name, const nlohmann::json& figures, bool worst_is_high) {
  const auto spread_text = worst_is_high ? fmt::format("max {:.3f}", statistic(figures, "accuracy", "max"))
                                         : fmt::format("+- {:.3f}", statistic(figures, "accuracy", "sd"));
  return fmt::format("  {:<11} {:>11} {:>8.3f}  {:<9}  {:>8}   {:>8.3f}\n", name,
                     fmt::format("({} keys)", figures.at("accuracy").at("keys").get<int>()),
                     statistic(figures, "accuracy", "mean"), spread_text, mean_or_dash(figures.at("reject_fraction")),
                     statistic(figures, "strip_accuracy", "mean"));
}

std::string split_rows(const nlohmann::json& access) {
  const auto& none = access.at("no_key");
  return fmt::format("  {:<23} {:>8.3f}  {:<9}  {:>8}   {:>8.3f}\n", "no key", none.at("accuracy").get<double>(), "",
                     number_or_dash(none.at("reject_fraction")), none.at("strip_accuracy").get<double>()) +
         key_row("correct key", access.at("correct_key"), false) + key_row("wrong key", access.at("wrong_key"), true);
}

// The worst family is the one whose best key opens most; the first of equals.
std::string family_rows(const nlohmann::json& families) {
  auto text = fmt::format("{:<17}{:>8} {:>7} {:>7} {:>7} {:>7}  {:>8}   {}\n", "wrong keys", "accuracy", "sd", "min",
                          "max", "keys", "rejected", "strip accuracy");
  std::string worst;
  for (const auto& [name, figures] : families.items()) {
    text += fmt::format("  {:<15}{:>8.3f} {:>7.3f} {:>7.3f} {:>7.3f} {:>7}  {:>8}   {:>8.3f}\n", name,
                        statistic(figures, "accuracy", "mean"), statistic(figures, "accuracy", "sd"),
                        statistic(figures, "accuracy", "min"), statistic(figures, "accuracy", "max"),
                        figures.at("accuracy").at("keys").get<int>(), mean_or_dash(figures.at("reject_fraction")),
                        statistic(figures, "strip_accuracy", "mean"));
    if (worst.empty() || statistic(figures, "accuracy", "max") > statistic(families.at(worst), "accuracy", "max"))
      worst = name;
  }
  return text + fmt::format("worst case: {}, whose best key opens {:.3f} (mean {:.3f})\n", worst,
                            statistic(families.at(worst), "accuracy", "max"),
                            statistic(families.at(worst), "accuracy", "mean"));
}

std::string norm_rows(const nlohmann::json& sweep) {
  auto text =
      fmt::format("{:<17}{:^28}  {:>20}\n{:<17}{:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}\n", "", "correct key",
                  "Gaussian key", "norm of keys", "accuracy", "rejected", "strip", "accuracy", "rejected", "strip");
  for (const auto& row : sweep) {
    text += fmt::format("  x {:<13}", row.at("norm").get<double>());
    for (const char* kind : {"correct_key", "wrong_key"}) {
      const auto& figures = row.at(kind);
      text += fmt::format("{:>8.3f}  {:>8}  {:>8.3f}  ", statistic(figures, "accuracy", "mean"),
                          mean_or_dash(figures.at("reject_fraction")), statistic(figures, "strip_accuracy", "mean"));
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += "\n";
  }
  return text;
}

// Nothing where nothing is cut off.
std::string saturation_row(const nlohmann::json& saturation) {
  double most = 0;
  for (const auto& kind : saturation)
    for (const auto& share : kind) most = std::max(most, share.get<double>());
  if (most == 0) return "";
  std::string text = "multiplier at its bounds 0.1 / 2:";
  for (const auto& [name, kind] : {std::pair{"correct key", "correct_key"}, std::pair{"wrong key", "wrong_key"}})
    text += fmt::format("{} {} {:.1f} % / {:.1f} %", text.back() == ':' ? "" : ",", name,
                        100 * saturation.at(kind).at("low").get<double>(),
                        100 * saturation.at(kind).at("high").get<double>());
  return text + "\n";
}

}  // namespace

nlohmann::json to_json(const SplitAccess& access) {
  const auto& none = access.no_key;
  nlohmann::json json = {
      {"no_key",
       {{"accuracy", none.accuracy},
        {"strip_accuracy", none.strip_accuracy},
        {"reject_fraction", none.reject_fraction ? nlohmann::json(*none.reject_fraction) : nlohmann::json()}}},
      {"correct_key", keys_to_json(access.correct_key)}};
  for (const auto& [family, keys] : access.families) json["families"][family] = keys_to_json(keys);
  json["wrong_family"] = access.families.at(0).family;
  json["wrong_key"] = json["families"][access.families[0].family];
  for (const auto& [norm, correct, wrong] : access.norm_sweep)
    json["norm_sweep"].push_back(
        {{"norm", norm}, {"correct_key", keys_to_json(correct)}, {"wrong_key", keys_to_json(wrong)}});
  return json;
}

nlohmann::json to_json(const AccessReport& report) {
  auto json = to_json(report.test);
  json["majority_rate"] = report.majority_rate;
  json["test_samples"] = report.test_samples;
  json["multiplier_saturation"] = saturation_to_json(report);
  if (report.train) json["train"] = to_json(*report.train);
  return json;
}

std::string access_table(const nlohmann::json& report) {
  const auto title = fmt::format("{} test samples", report.at("test_samples").get<std::int64_t>());
  auto text = fmt::format("{:<26}{:>8}  {:<9}  {:>8}   {}\n", title, "accuracy", "", "rejected",
                          "strip accuracy (rejection ignored)");
  text += split_rows(report);
  text += fmt::format("  {:<23} {:>8.3f}\n", "always the commonest", report.at("majority_rate").get<double>());
  if (report.contains("train")) text += "on the training split\n" + split_rows(report.at("train"));
  // Results of earlier versions have no families and no saturation.
  if (const auto families = report.find("families"); families != report.end() && families->size() > 1)
    text += family_rows(*families);
  if (const auto sweep = report.find("norm_sweep"); sweep != report.end()) text += norm_rows(*sweep);
  if (const auto saturation = report.find("multiplier_saturation");
      saturation != report.end() && !saturation->is_null())
    text += saturation_row(*saturation);
  const auto& none = report.at("no_key");
  if (!none.at("reject_fraction").is_null())
    text += fmt::format(
        "The key decides for whoever runs the model as shipped. Whoever holds the weights and ignores "
        "the rejection gets {:.2f} without a key.\n",
        none.at("strip_accuracy").get<double>());
  return text;
}

}  // namespace spankey
