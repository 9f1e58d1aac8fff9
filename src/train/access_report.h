// What each kind of key opens: the figures of result.json and the table on the screen.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "spankey/keys/key_maker.h"

namespace spankey {

// One key (or none) over the samples it was tried on: all of the split, or one batch where a fresh key is drawn for
// each batch.
struct AccessFigures {
  double accuracy = 0.0;                  // a reject counts as wrong
  double strip_accuracy = 0.0;            // argmax over the class logits: reject logit or auxiliary head ignored
  std::optional<double> reject_fraction;  // empty where the model cannot reject
  double samples = 0.0;
};

// One entry a key.
using KeyAccess = std::vector<AccessFigures>;

struct FamilyAccess {
  std::string family;
  KeyAccess keys;
};

// Valid keys and Gaussian ones, both multiplied by `norm` after the rescale.
struct NormAccess {
  double norm = 1.0;
  KeyAccess correct_key, wrong_key;
};

struct SplitAccess {
  AccessFigures no_key;
  KeyAccess correct_key;
  std::vector<FamilyAccess> families;  // of wrong keys, at least one; the first is wrong_key of the result
  std::vector<NormAccess> norm_sweep;
};

struct AccessReport {
  SplitAccess test;
  std::optional<SplitAccess> train;
  double majority_rate = 0.0,
         minority_rate = 0.0;  // of always answering the commonest or rarest class of the test split
  std::int64_t test_samples = 0;
  bool key_for_each_batch = false;  // a key was tried on one batch, not on all samples
  // Of the multiplier under the evaluation's correct keys and its wrong ones; empty where nothing is cut off.
  std::optional<Saturation> correct_saturation, wrong_saturation;
};

// {"no_key": …, "correct_key": …, "wrong_key": …, "wrong_family": NAME, "families": {NAME: …}} and, where measured,
// "norm_sweep": [{"norm", "correct_key", "wrong_key"}]. Of no key plain numbers, of keys for each figure
// {mean, sd, min, max, keys, quantiles: {q05, q25, q50, q75, q95}, ci95: [low, high]}: mean over samples, the rest over
// keys; ci95 is that of the mean key, mean_share_interval() of the accuracies of the keys, null for a single one.
nlohmann::json to_json(const SplitAccess& access);
// The test split's, with "majority_rate", "minority_rate", "test_samples", "key_for_each_batch", "train",
// "multiplier_saturation": {"correct_key": {low, high}, "wrong_key": {low, high}} or null, and "verdict", see
// verdict.h.
nlohmann::json to_json(const AccessReport& report);

// "no_key.accuracy", "train.wrong_key.accuracy.max": the number there, `mean` of an object of figures; nothing where
// it is null or missing.
std::optional<double> number_at(const nlohmann::json& result, std::string_view path);

// A result.json of this version or an earlier one, whose run has this configuration, with "key_for_each_batch".
// Error(bad_input) names the file and the first figure that a result of any version has and this one lacks.
nlohmann::json read_result(const std::filesystem::path& file, const Config& config);
// The last evaluation in a metrics.jsonl, as far as a run came, in the same form; null where there is none, or none
// that can be understood.
nlohmann::json last_evaluation(const std::filesystem::path& metrics, const Config& config);

// From the JSON form, so that a finished run can show its result again: figures by key, and the verdict.
std::string access_table(const nlohmann::json& report);

}  // namespace spankey
