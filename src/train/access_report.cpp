#include "train/access_report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace spankey {
namespace {

// Mean weighted by samples (the accuracy over all of them); sd, min and max over keys as they are.
nlohmann::json spread(const std::vector<double>& values, const std::vector<double>& weights) {
  double total = 0.0, sum = 0.0, plain = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += weights[i] * values[i];
    total += weights[i];
    plain += values[i];
  }
  const double count = static_cast<double>(values.size());
  double squares = 0.0;
  for (const double v : values) squares += (v - plain / count) * (v - plain / count);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {{"mean", sum / total},
          {"sd", values.size() > 1 ? std::sqrt(squares / (count - 1.0)) : 0.0},
          {"min", *low},
          {"max", *high},
          {"keys", values.size()}};
}

nlohmann::json keys_to_json(const std::vector<AccessFigures>& keys, const std::vector<double>& weights) {
  std::vector<double> accuracy, strip, reject;
  for (const auto& key : keys) {
    accuracy.push_back(key.accuracy);
    strip.push_back(key.strip_accuracy);
    if (key.reject_fraction) reject.push_back(*key.reject_fraction);
  }
  return {{"accuracy", spread(accuracy, weights)},
          {"strip_accuracy", spread(strip, weights)},
          {"reject_fraction", reject.empty() ? nlohmann::json() : spread(reject, weights)}};
}

std::string number_or_dash(const nlohmann::json& value) {
  return value.is_number() ? fmt::format("{:.3f}", value.get<double>()) : "-";
}

std::string key_row(const char* name, const nlohmann::json& figures, bool worst_is_high) {
  const auto& accuracy = figures.at("accuracy");
  const auto& reject = figures.at("reject_fraction");
  const auto spread_text = worst_is_high ? fmt::format("max {:.3f}", accuracy.at("max").get<double>())
                                         : fmt::format("+- {:.3f}", accuracy.at("sd").get<double>());
  return fmt::format("  {:<11} {:>11} {:>8.3f}  {:<9}  {:>8}   {:>8.3f}\n", name,
                     fmt::format("({} keys)", accuracy.at("keys").get<int>()), accuracy.at("mean").get<double>(),
                     spread_text, number_or_dash(reject.is_null() ? reject : reject.at("mean")),
                     figures.at("strip_accuracy").at("mean").get<double>());
}

std::string split_rows(const nlohmann::json& access) {
  const auto& none = access.at("no_key");
  return fmt::format("  {:<23} {:>8.3f}  {:<9}  {:>8}   {:>8.3f}\n", "no key", none.at("accuracy").get<double>(), "",
                     number_or_dash(none.at("reject_fraction")), none.at("strip_accuracy").get<double>()) +
         key_row("correct key", access.at("correct_key"), false) + key_row("wrong key", access.at("wrong_key"), true);
}

}  // namespace

nlohmann::json to_json(const SplitAccess& access) {
  const auto& none = access.no_key;
  return {{"no_key",
           {{"accuracy", none.accuracy},
            {"strip_accuracy", none.strip_accuracy},
            {"reject_fraction", none.reject_fraction ? nlohmann::json(*none.reject_fraction) : nlohmann::json()}}},
          {"correct_key", keys_to_json(access.correct_key, access.weights)},
          {"wrong_key", keys_to_json(access.wrong_key, access.weights)}};
}

nlohmann::json to_json(const AccessReport& report) {
  auto json = to_json(report.test);
  json["majority_rate"] = report.majority_rate;
  json["test_samples"] = report.test_samples;
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
  const auto& none = report.at("no_key");
  if (!none.at("reject_fraction").is_null())
    text += fmt::format(
        "The key decides for whoever runs the model as shipped. Whoever holds the weights and ignores "
        "the rejection gets {:.2f} without a key.\n",
        none.at("strip_accuracy").get<double>());
  return text;
}

}  // namespace spankey
