// What each kind of key opens: the figures of result.json and the table on the screen.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace spankey {

// One key (or none) over one whole split.
struct AccessFigures {
  double accuracy = 0.0;                  // a reject counts as wrong
  double strip_accuracy = 0.0;            // argmax over the class logits: reject logit or auxiliary head ignored
  std::optional<double> reject_fraction;  // empty where the model cannot reject
};

struct SplitAccess {
  AccessFigures no_key;
  std::vector<AccessFigures> correct_key, wrong_key;  // one entry a key
  // Samples each key was measured on: all of the split, or one batch where a fresh key is drawn for each batch.
  std::vector<double> weights;
};

struct AccessReport {
  SplitAccess test;
  std::optional<SplitAccess> train;
  double majority_rate = 0.0;  // of always answering the commonest class of the test split
  std::int64_t test_samples = 0;
};

// {"no_key": …, "correct_key": …, "wrong_key": …} with plain numbers for no key and {mean, sd, min, max, keys} else.
nlohmann::json to_json(const SplitAccess& access);
nlohmann::json to_json(const AccessReport& report);

// From the JSON form, so that a finished run can show its result again.
std::string access_table(const nlohmann::json& report);

}  // namespace spankey
