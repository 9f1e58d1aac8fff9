#include "record/verdict.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <optional>

#include "config/names.h"
#include "record/result.h"

namespace spankey::verdict_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Key {
  double accuracy, strip;
  std::optional<double> best = {}, best_strip = {};  // of a single key; the same as the mean unless given
};

nlohmann::json key_figures(const Key& key) {
  const auto spread = [](double mean, double max) {
    return nlohmann::json{{"mean", mean}, {"sd", 0.0}, {"min", mean}, {"max", max}, {"keys", 4}};
  };
  return {{"accuracy", spread(key.accuracy, key.best.value_or(key.accuracy))},
          {"strip_accuracy", spread(key.strip, key.best_strip.value_or(key.strip))},
          {"reject_fraction", nullptr}};
}

nlohmann::json access(const Key& correct, const Key& none, const Key& wrong) {
  return {{"correct_key", key_figures(correct)},
          {"no_key", {{"accuracy", none.accuracy}, {"strip_accuracy", none.strip}, {"reject_fraction", nullptr}}},
          {"wrong_key", key_figures(wrong)},
          {"majority_rate", 0.11},
          {"minority_rate", 0.09},
          {"test_samples", 1000}};
}

// No rejection: the answers are what they are.
nlohmann::json plain(double correct, double none, double wrong) {
  return access({correct, correct}, {none, none}, {wrong, wrong});
}

TEST(Verdict, ANetworkThatNeedsNoKeyIsNotDecidedByIt) {
  const auto verdict = judge_access(plain(0.932, 0.933, 0.932));
  EXPECT_EQ(verdict.grade, Grade::does_not_decide);
  EXPECT_NEAR(verdict.withheld, -0.001, 1e-12);
  EXPECT_EQ(
      verdict.text(),
      "The key does not decide: accuracy is at most 0.933 without a valid key (no key), 0.932 with a correct one; "
      "1000 samples show no advantage of it.");
}

TEST(Verdict, NothingDecidesAtChance) {
  for (const double correct : {0.05, 0.11, 0.125}) {
    const auto verdict = judge_access(plain(correct, 0.1, 0.1));
    EXPECT_EQ(verdict.grade, Grade::at_chance) << correct;
    EXPECT_THAT(verdict.text(), HasSubstr("The network is at chance"));
    EXPECT_THAT(verdict.text(), Not(HasSubstr("decides")));
  }
}

TEST(Verdict, GradesByWhatIsWithheldOfWhatIsAboveChance) {
  const auto grade = [](double correct, double none) { return judge_access(plain(correct, none, 0.11)).grade; };
  EXPECT_EQ(grade(0.91, 0.11), Grade::decides);
  EXPECT_EQ(grade(0.91, 0.70), Grade::decides);         // .21 of .80
  EXPECT_EQ(grade(0.91, 0.72), Grade::decides_little);  // .19 of .80
  EXPECT_EQ(grade(0.91, 0.86), Grade::decides_little);
  EXPECT_EQ(grade(0.91, 0.905), Grade::does_not_decide);
  EXPECT_EQ(grade(0.21, 0.11), Grade::decides);  // a poor network, but all it has
}

// Newcombe, Statistics in Medicine 17 (1998), table II: 56/70 - 48/80 is for unequal numbers; of equal ones by hand:
// 9/10 - 3/10 with Wilson's limits (.5958, .9821) and (.1078, .6032) gives .1705 and .8090 (rows of his example c).
TEST(Verdict, TheSampleSizeDecidesWhatCounts) {
  auto few = plain(0.95, 0.90, 0.5), many = few;
  few["test_samples"] = 100;
  many["test_samples"] = 10000;
  EXPECT_EQ(judge_access(few).grade, Grade::does_not_decide);
  EXPECT_EQ(judge_access(many).grade, Grade::decides_little);
  const auto interval = difference_interval(0.9, 0.3, 10);
  EXPECT_NEAR(interval.low, 0.1705, 5e-4);
  EXPECT_NEAR(interval.high, 0.8090, 5e-4);
}

TEST(Verdict, IgnoringTheRejectionDefeatsTheLock) {
  const auto verdict = judge_access(access({0.978, 0.978}, {0.0, 0.976}, {0.002, 0.97, 0.01, 0.974}));
  EXPECT_EQ(verdict.grade, Grade::does_not_decide);
  EXPECT_EQ(verdict.grade_as_shipped, Grade::decides);
  EXPECT_EQ(verdict.worst.text(), "no key, rejection ignored");
  EXPECT_EQ(verdict.wrong_key.accuracy, 0.974);
  EXPECT_NEAR(verdict.withheld, 0.002, 1e-12);
  EXPECT_NEAR(verdict.withheld_as_shipped, 0.968, 1e-12);
  EXPECT_THAT(verdict.text(),
              AllOf(HasSubstr("The key does not decide"),
                    HasSubstr("To whoever runs the model as shipped, the key decides: accuracy is at most 0.010")));
  EXPECT_TRUE(verdict.below_chance.empty());  // a rejection is no answer
}

TEST(Verdict, TheBestSingleKeyCountsWhereKeysWereTriedOnAllSamples) {
  auto json = plain(0.9, 0.1, 0.1);
  json["wrong_key"] = key_figures({0.1, 0.1, 0.3, 0.7});
  EXPECT_EQ(judge_access(json).worst.accuracy, 0.7);
  EXPECT_EQ(judge_access(json).worst.text(), "best gaussian key, rejection ignored");
  json["key_for_each_batch"] = true;  // the largest figure is that of a lucky batch
  EXPECT_EQ(judge_access(json).worst.accuracy, 0.1);
}

TEST(Verdict, KeysMadeOfAValidOneAreToldApart) {
  auto json = plain(0.9, 0.1, 0.1);
  json["families"] = {{"gaussian", key_figures({0.1, 0.1})},
                      {"constant", key_figures({0.2, 0.2})},
                      {"one_hot", key_figures({0.5, 0.6})},
                      {"scaled", key_figures({0.5, 0.5, 0.8})}};
  const auto verdict = judge_access(json);
  EXPECT_EQ(verdict.worst.text(), "best constant key");
  EXPECT_NEAR(verdict.withheld, 0.7, 1e-12);
  ASSERT_TRUE(verdict.derived.has_value());
  EXPECT_EQ(verdict.derived->text(), "best scaled key");
  EXPECT_EQ(verdict.derived->accuracy, 0.8);
  EXPECT_THAT(verdict.text(), HasSubstr("Keys made of a valid one give up to 0.800 (best scaled key)."));
  EXPECT_EQ(verdict.independent_keys, 8);
  for (const char* name :
       {"negated", "permuted", "one_hot", "alpha_normal", "alpha_u11", "scaled", "interpolated", "near_miss"})
    EXPECT_TRUE(is_derived_family(name)) << name;
  for (const char* name : {"gaussian", "orth_complement", "other_basis", "constant", "low_frequency", "sparse", "?"})
    EXPECT_FALSE(is_derived_family(name)) << name;
}

TEST(Verdict, KeysOfAnotherNormCount) {
  auto json = plain(0.9, 0.1, 0.1);
  json["norm_sweep"] = {
      {{"norm", 1.0}, {"correct_key", key_figures({0.9, 0.9})}, {"wrong_key", key_figures({0.1, 0.1})}},
      {{"norm", 0.25}, {"correct_key", key_figures({0.7, 0.7})}, {"wrong_key", key_figures({0.6, 0.6})}}};
  const auto verdict = judge_access(json);
  EXPECT_EQ(verdict.worst.text(), "best gaussian x 0.25 key");
  ASSERT_TRUE(verdict.derived.has_value());
  EXPECT_EQ(verdict.derived->key, "correct key x 0.25");
}

// 20 of 1000 against a rarest class of 90: no way to answer without the label gives less.
TEST(Verdict, BelowChanceTheAnswersCarryTheLabel) {
  const auto verdict = judge_access(access({0.95, 0.95}, {0.0, 0.02}, {0.0, 0.01}));
  EXPECT_EQ(verdict.grade, Grade::below_chance);
  EXPECT_THAT(verdict.text(), HasSubstr("Below chance: the answers carry the label."));
  EXPECT_EQ(verdict.below_chance.size(), 2U);
  // One of the readings is below chance, another is not: the lock is graded by that one, and the first is named.
  const auto mixed = judge_access(plain(0.95, 0.4, 0.02));
  EXPECT_EQ(mixed.grade, Grade::decides);
  EXPECT_THAT(mixed.text(), HasSubstr("Below chance: the answers carry the label (gaussian 0.020; always the commonest "
                                      "0.110)."));
}

TEST(Verdict, ARarerClassExplainsWhatLiesBetweenTheClasses) {
  // .5 is below the commonest class of .9 and above the rarest of .1: guessing does that.
  auto json = plain(0.95, 0.5, 0.5);
  json["majority_rate"] = 0.9;
  json["minority_rate"] = 0.1;
  const auto verdict = judge_access(json);
  EXPECT_EQ(verdict.grade, Grade::decides);
  EXPECT_THAT(verdict.text(), HasSubstr("Below chance: the answers carry the label or name a rarer class"));
  json.erase("minority_rate");  // a result of an earlier version
  EXPECT_EQ(judge_access(json).grade, Grade::below_chance);
}

TEST(Verdict, TheTableSaysItAndMarksWhatIsBelowChance) {
  const auto json = plain(0.95, 0.4, 0.02);
  const auto table = access_table(json);
  EXPECT_THAT(table, HasSubstr(judge_access(json).text()));
  EXPECT_THAT(table, testing::ContainsRegex("wrong key .* 0.020  below chance"));
  EXPECT_THAT(table, Not(testing::ContainsRegex("no key .* 0.400  below chance")));
}

TEST(Verdict, FiguresStandInTheJson) {
  const auto json = to_json(judge_access(access({0.978, 0.978}, {0.0, 0.976}, {0.002, 0.97, 0.01, 0.974})));
  EXPECT_EQ(json["grade"], "does not decide");
  EXPECT_EQ(json["worst"]["key"], "no key");
  EXPECT_EQ(json["worst"]["strip"], true);
  EXPECT_EQ(json["wrong_key"], 0.974);
  EXPECT_EQ(json["chance"], 0.11);
  EXPECT_TRUE(json["derived_key"].is_null());
  EXPECT_LT(json["withheld_ci95"][0], 0.002);
  EXPECT_GT(json["withheld_ci95"][1], 0.002);
}

}  // namespace
}  // namespace spankey::verdict_test
