// attack.json as `spankey attack` leaves it (docs/attacks.md), with rows that the test chooses.
#pragma once

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace spankey::test {

struct MadeAttack {
  std::string id;
  int images = 0;
  double access = 0.0;
  double low = access, high = access;  // over attack seeds
  int leaked = 0;
};

inline nlohmann::json made_attacks(const std::vector<MadeAttack>& attacks, const std::string& weights_sha256,
                                   double correct = 0.9, double majority = 0.1) {
  using nlohmann::json;
  json rows = json::array(), worst, price;
  for (const auto& one : attacks) {
    const bool valid_key = one.leaked > 0;
    json row{{"id", one.id},
             {"name", "attack " + one.id},
             {"knows", {"weights"}},
             {"owner", false},
             {"needs_valid_key", valid_key},
             {"budget", {{"images", one.images}, {"variant", ""}}},
             {"budget_text", std::to_string(one.images) + " images"},
             {"access", {{"mean", one.access}, {"sd", 0.01}, {"min", one.low}, {"max", one.high}, {"seeds", 3}}},
             {"cost", {{"labels", one.images}, {"queries", 0}, {"leaked", one.leaked}}}};
    if (!valid_key && one.id != "S0") {
      if (worst.is_null() || worst.at("access") < one.access)
        worst = {
            {"access", one.access}, {"id", one.id}, {"name", row.at("name")}, {"budget_text", row.at("budget_text")}};
      if ((one.access - majority) / (correct - majority) >= 0.9 &&
          (price.is_null() || one.images < price.at("labels").get<int>()))
        price = {{"labels", one.images}, {"id", one.id}};
    }
    rows.push_back(std::move(row));
  }
  return {{"version", 1},
          {"weights_sha256", weights_sha256},
          {"preset", "quick"},
          {"majority_rate", majority},
          {"reference", {{"correct", {{"accuracy", {{"mean", correct}, {"sd", 0.01}, {"keys", 4}}}}}}},
          {"rows", rows},
          {"worst_case", worst},
          {"worst_case_as_shipped", nullptr},
          {"withheld", worst.is_null() ? json() : json(correct - worst.at("access").get<double>())},
          {"price_of_entry", {{"labels", price}, {"queries", nullptr}, {"leaked", nullptr}}}};
}

}  // namespace spankey::test
