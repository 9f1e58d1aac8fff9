// The measured accuracies with each kind of key, and their form in result.json.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "spankey/keys/key_maker.h"

namespace spankey {

// The figures of one key, or of no key, over the samples it was tried on. These are all samples of the split, or one
// batch where a fresh key is drawn for each batch.
struct AccessFigures {
  double accuracy = 0.0;        // a reject counts as wrong
  double strip_accuracy = 0.0;  // argmax over the class logits, without the reject logit or the auxiliary head
  std::optional<double> reject_fraction;  // empty where the model cannot reject
  double samples = 0.0;
};

// One entry for each key.
using KeyAccess = std::vector<AccessFigures>;

struct FamilyAccess {
  std::string family;
  KeyAccess keys;
};

// The figures of valid keys and of Gaussian ones, both multiplied by `norm` after the rescale.
struct NormAccess {
  double norm = 1.0;
  KeyAccess correct_key, wrong_key;
};

struct SplitAccess {
  AccessFigures no_key;
  KeyAccess correct_key;
  std::vector<FamilyAccess> families;  // of wrong keys, at least one. The first is wrong_key of the result
  std::vector<NormAccess> norm_sweep;
};

struct AccessReport {
  SplitAccess test;  // without correct keys where the basis is unknown
  std::optional<SplitAccess> train;
  double majority_rate = 0.0,
         minority_rate = 0.0;  // accuracies of always answering the commonest or rarest class of the test split
  std::int64_t test_samples = 0;
  bool key_for_each_batch = false;  // true where a key was tried on one batch, not on all samples
  // Saturation of the multiplier under the correct keys of the evaluation and under its wrong ones. Empty where the
  // multiplier clamps nothing.
  std::optional<Saturation> correct_saturation, wrong_saturation;
};

// Returns {"no_key": …, "correct_key": …, "wrong_key": …, "wrong_family": NAME, "families": {NAME: …}} and, where it
// was measured, "norm_sweep": [{"norm", "correct_key", "wrong_key"}]. No key has plain numbers. Keys have {mean, sd,
// min, max, keys, quantiles: {q05, q25, q50, q75, q95}, ci95: [low, high]} for each figure. The mean is over samples,
// the rest is over keys. ci95 is the interval of the mean key, which mean_share_interval() computes from the accuracies
// of the keys. It is null for a single key. A kind of key that was not tried is null as a whole.
nlohmann::json to_json(const SplitAccess& access);
// Returns the object of the test split, with "majority_rate", "minority_rate", "test_samples", "key_for_each_batch",
// "train", "multiplier_saturation": {"correct_key": {low, high}, "wrong_key": {low, high}} or null, and "verdict" (see
// record/verdict.h).
nlohmann::json to_json(const AccessReport& report);

// An evaluation as a run of this configuration writes it after an epoch, with made-up figures, and with "loss", "ce"
// and "deny" of a step.
nlohmann::json sample_evaluation(const Config& config);

}  // namespace spankey
