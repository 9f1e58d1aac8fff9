#include "train/access_report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <vector>

#include "base/statistics.h"
#include "record/verdict.h"
#include "spankey/deny/deny.h"

namespace spankey {
namespace {

nlohmann::json quantiles(const std::vector<double>& values) {
  nlohmann::json json;
  for (const int percent : {5, 25, 50, 75, 95})
    json[fmt::format("q{:02}", percent)] = quantile(values, static_cast<double>(percent) / 100.0);
  return json;
}

// The mean is weighted by samples, so that it is the accuracy over all of them. The rest is over keys without weights.
nlohmann::json spread(const std::vector<double>& values, const std::vector<double>& weights) {
  double total = 0.0, sum = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += weights[i] * values[i];
    total += weights[i];
  }
  const bool several = values.size() > 1;
  const Summary over_keys = summarise(values);
  const Interval interval = mean_share_interval(values);
  return {{"mean", sum / total},
          {"sd", several ? over_keys.sd : 0.0},
          {"min", over_keys.min},
          {"max", over_keys.max},
          {"keys", values.size()},
          {"quantiles", quantiles(values)},
          {"ci95", several ? nlohmann::json{interval.low, interval.high} : nlohmann::json()}};
}

nlohmann::json keys_to_json(const KeyAccess& keys) {
  if (keys.empty()) return nullptr;
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
  json["minority_rate"] = report.minority_rate;
  json["test_samples"] = report.test_samples;
  json["key_for_each_batch"] = report.key_for_each_batch;
  json["multiplier_saturation"] = saturation_to_json(report);
  if (report.train) json["train"] = to_json(*report.train);
  if (!report.test.correct_key.empty()) json["verdict"] = to_json(judge_access(json));
  return json;
}

nlohmann::json sample_evaluation(const Config& config) {
  const bool rejects = find_deny_loss(canonical(config).deny.mode).reject != RejectKind::none;
  const AccessFigures one{.accuracy = 0.5,
                          .strip_accuracy = 0.5,
                          .reject_fraction = rejects ? std::optional(0.0) : std::nullopt,
                          .samples = 1.0};
  AccessReport report;
  report.test.no_key = one;
  report.test.correct_key = {one, one};
  for (const auto& family : config.eval.families) report.test.families.push_back({family, {one, one}});
  report.majority_rate = report.minority_rate = 0.1;
  report.test_samples = 1;
  report.correct_saturation = report.wrong_saturation = Saturation{};
  auto json = to_json(report);
  for (const char* name : {"loss", "ce", "deny"}) json[name] = 0.0;
  return json;
}

}  // namespace spankey
