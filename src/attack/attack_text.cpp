#include "attack/attack_text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>

#include "record/result.h"

namespace spankey {
namespace {

using nlohmann::json;

// "free key, 10 images, 300 steps", from the texts that there are.
std::string joined(const json& named, std::initializer_list<const char*> parts) {
  std::vector<std::string> texts;
  for (const char* part : parts)
    if (auto text = named.at(part).get<std::string>(); text != "-") texts.push_back(std::move(text));
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::string price_text(const json& prices, const char* what, const char* one, const char* several) {
  const auto& price = prices.at(what);
  if (price.is_null()) return fmt::format("no number of {} that was tried", several);
  const double number = price.at(what).get<double>();
  return fmt::format("{:.0f} {} ({})", number, number == 1 ? one : several, joined(price, {"id", "budget_text"}));
}

json mean_at(const json& reference, const std::string& path) {
  const auto mean = number_at(reference, path), sd = number_at(reference, path + ".sd");
  if (!mean) return nullptr;
  return {{"mean", *mean}, {"sd", sd ? json(*sd) : json()}};
}

}  // namespace

std::string worst_case_text(const json& report) {
  const auto& worst = report.at("worst_case");
  if (worst.is_null()) return "no attack was run";
  return fmt::format("{:.4f} by {} ({}), best seed {:.4f}", worst.at("access").get<double>(),
                     worst.at("id").get<std::string>(), joined(worst, {"name", "budget_text"}),
                     worst.at("max").get<double>());
}

std::string withheld_text(const json& report) {
  const auto withheld = number_at(report, "withheld"), correct = number_at(report, "reference.correct.accuracy");
  if (!correct) return "not known, nothing tells what a valid key gives";
  if (!withheld) return "not known, no attack was run";
  return fmt::format("{:.4f} = correct key {:.4f} - worst case", *withheld, *correct);
}

std::string price_of_entry_text(const json& report) {
  const auto& price = report.at("price_of_entry");
  if (!number_at(report, "reference.correct.accuracy"))
    return "price of entry: not known, since nothing tells what a valid key gives";
  return fmt::format("price of entry, for 0.9 of what a valid key gives above chance: {}; {}; {}",
                     price_text(price, "labels", "label", "labels"), price_text(price, "queries", "query", "queries"),
                     price_text(price, "leaked", "leaked key", "leaked keys"));
}

std::vector<std::pair<std::string, json>> attack_references(const json& report) {
  const auto& reference = report.at("reference");
  return {{"correct key", mean_at(reference, "correct.accuracy")},
          {"vanilla twin", mean_at(reference, "vanilla.accuracy")},
          {"noise twin, wrong key", mean_at(reference, "noise.accuracy")},
          {"fixed-key twin, its key", mean_at(reference, "fixed_key.accuracy")},
          {"no key", mean_at(reference, "no_key.accuracy")},
          {"no key, stripped", mean_at(reference, "no_key.strip_accuracy")},
          {"wrong key, mean", mean_at(reference, "wrong_key.accuracy")},
          {"wrong key, best", mean_at(reference, "wrong_key.accuracy.max")},
          {"worst case", mean_at(report, "worst_case.access")}};
}

std::vector<std::pair<std::string, std::vector<std::string>>> attacks_not_run(const json& report) {
  std::vector<std::pair<std::string, std::vector<std::string>>> found;
  for (const auto& one : report.at("not_run")) {
    const auto why = one.at("why").get<std::string>();
    auto at = std::find_if(found.begin(), found.end(), [&](const auto& entry) { return entry.first == why; });
    if (at == found.end()) at = found.insert(found.end(), {why, {}});
    at->second.push_back(one.at("id").get<std::string>());
  }
  return found;
}

}  // namespace spankey
