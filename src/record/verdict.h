// Says what a lock withholds. It is computed from measured figures in one place, and worded in one sentence for all
// uses.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/statistics.h"

namespace spankey {

enum class Grade {
  decides,          // at least a quarter of what a correct key gives above chance is withheld
  decides_little,   // less, but more than chance explains
  does_not_decide,  // nothing that so many samples can show
  at_chance,        // a correct key gives no more than always answering the commonest class
  below_chance      // what is given without a valid key is less than chance, so it tells about the label
};
// Returns text such as "decides little".
std::string to_string(Grade grade);

// One way to get answers without a valid key.
struct Reading {
  std::string key;     // "no key", a family of wrong keys ("one_hot"), "gaussian x 0.5", "correct key x 2"
  bool strip = false;  // true with the rejection ignored
  bool mean = false;   // true for the mean over the keys, false for the best one
  double accuracy = 0.0;
  bool attack = false;  // true where `key` names an attack, such as "K5, free key, 10 images"

  std::string text() const;  // such as "no key, rejection ignored", "best one_hot key", "one_hot keys, mean"
};

// Figures are shares of the test split. The figure of a single key counts where each key was tried on all samples. The
// mean of a family counts where every batch had a key of its own. Intervals are of 95 %, Wilson's for an accuracy and
// Newcombe's for a difference.
struct Verdict {
  double correct = 0.0;            // with a correct key, mean over keys
  double chance = 0.0;             // always answering the commonest class
  std::optional<double> minority;  // always answering the rarest, missing in results of earlier versions
  std::int64_t samples = 0, independent_keys = 0;
  double no_key = 0.0, no_key_strip = 0.0;
  Reading wrong_key;               // the best independent wrong key, as shipped or stripped
  Reading worst;                   // that, no key, or the worst of the attacks, whichever gives more
  Reading worst_as_shipped;        // the same without stripping
  std::optional<Reading> derived;  // the best key that was made of a valid one. It counts nowhere else
  double withheld = 0.0;           // correct - worst
  Interval withheld_interval;
  double withheld_as_shipped = 0.0;
  std::vector<Reading> below_chance;  // means over keys that lie significantly below always answering the commonest
  Grade grade = Grade::does_not_decide, grade_as_shipped = Grade::does_not_decide;

  // Describes the grade and the figures it rests on, in more sentences where there is more to say.
  std::string text() const;
};

// True where an accuracy over `samples` samples is significantly below `chance`.
bool is_below_chance(double accuracy, double chance, double samples);

// What such an accuracy tells: "the answers carry the label", or a rarer class where `minority` (always answering the
// rarest) leaves that open. Empty where the accuracy is not significantly below `chance`.
std::string below_chance_remark(double accuracy, double chance, std::optional<double> minority, double samples);

// `access` is result.json, or an evaluation in metrics.jsonl (see record/result.h), of this version or an earlier one.
// Where it has "attacks" (record/attack_record.h), their worst case counts like that of the keys.
Verdict judge_access(const nlohmann::json& access);

// Returns {"grade", "text", "correct_key", "no_key", "no_key_strip", "wrong_key", "worst": {"key", "strip",
// "accuracy"}, "worst_as_shipped": likewise, "derived_key": likewise or null, "withheld", "withheld_ci95": [low, high],
// "withheld_as_shipped", "chance", "samples", "independent_keys", "below_chance": [{"key", "strip", "accuracy"}]}.
nlohmann::json to_json(const Verdict& verdict);

}  // namespace spankey
