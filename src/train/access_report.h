// What each kind of key opens, as it was measured, and its form in result.json.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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
// record/verdict.h.
nlohmann::json to_json(const AccessReport& report);

}  // namespace spankey
