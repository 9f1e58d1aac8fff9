#include "record/requirement.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "record/attack_record.h"
#include "support/expect_error.h"

namespace spankey::requirement_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const nlohmann::json evaluation{{"correct_key", {{"accuracy", {{"mean", 0.9}, {"max", 0.95}}}}},
                                {"no_key", {{"accuracy", 0.7}, {"reject_fraction", nullptr}}},
                                {"verdict", {{"withheld", 0.9 - 0.7}, {"grade", "decides"}}}};

std::string missed(const std::string& expression) {
  const auto requirements = parse_requirements({expression});
  require_known(requirements, evaluation);
  return unmet(requirements, evaluation);
}

TEST(Requirement, ComparesWhatWasMeasured) {
  EXPECT_EQ(missed("correct_key.accuracy.mean>=.9"), "");
  EXPECT_EQ(missed(" correct_key.accuracy  >  0.89 "), "");
  EXPECT_EQ(missed("correct_key.accuracy == 0.9 AND no_key.accuracy<=0.7 and no_key.accuracy < 7e-1 "),
            "required, and not met: no_key.accuracy < 0.7, measured 0.7");
  EXPECT_EQ(missed("verdict.withheld < -1 and correct_key.accuracy.max > 1"),
            "required, and not met: verdict.withheld < -1, measured 0.2; correct_key.accuracy.max > 1, measured 0.95");
}

// 0.9 - 0.7 is a little less than 0.2 in binary.
TEST(Requirement, ADifferenceIsWhatItIsOnPaper) {
  ASSERT_NE(0.9 - 0.7, 0.2);
  EXPECT_EQ(missed("withheld>=0.2"), "");
  EXPECT_EQ(missed("withheld == 0.2"), "");
  EXPECT_EQ(missed("withheld>=0.2000001"), "required, and not met: withheld >= 0.2000001, measured 0.2");
}

TEST(Requirement, AnUnknownQuantityIsRefusedWithTheNearest) {
  for (const char* quantity : {"witheld", "no_key.acuracy", "no_key.reject_fraction", "verdict.grade", "no_key", "x"})
    EXPECT_ERROR(missed(std::string(quantity) + " > 0"), ExitCode::bad_input,
                 AllOf(HasSubstr(quantity), HasSubstr("accepted: withheld")));
  EXPECT_ERROR(missed("witheld > 0"), ExitCode::bad_input, HasSubstr("did you mean 'withheld'?"));
}

nlohmann::json with_attacks(nlohmann::json summary) {
  auto all = evaluation;
  all["attacks"] = std::move(summary);
  return all;
}

TEST(Requirement, NamesFiguresOfAttacks) {
  const nlohmann::json summary{
      {"worst_case", {{"access", 0.4}}}, {"price", 60}, {"most_labels", 600}, {"priced", true}};
  const auto all = with_attacks(summary);
  const auto missed = [&](const char* expression) { return unmet(parse_requirements({expression}), all); };
  EXPECT_EQ(missed("attacks.worst_case.access <= 0.4 and attacks.price >= 60"), "");
  EXPECT_EQ(missed("attacks.price > 60"), "required, and not met: attacks.price > 60, measured 60");
  require_known(parse_requirements({"attacks.price > 1 and attacks.free_key_10 < 1"}),
                with_attacks(example_attack_summary()));
  EXPECT_ERROR(require_known(parse_requirements({"attacks.prize > 1"}), with_attacks(example_attack_summary())),
               ExitCode::bad_input, HasSubstr("did you mean 'attacks.price'?"));
}

// No attack with up to 600 labels has got in. Whether 601 would is not known.
TEST(Requirement, APriceThatNobodyHasPaidIsMoreThanTheMostThatWasTried) {
  const auto all = with_attacks({{"price", nullptr}, {"most_labels", 600.0}, {"priced", true}});
  const auto missed = [&](const char* expression) { return unmet(parse_requirements({expression}), all); };
  for (const char* met : {"attacks.price > 600", "attacks.price >= 601", "attacks.price > 10"})
    EXPECT_EQ(missed(met), "");
  for (const char* open : {"attacks.price > 601", "attacks.price < 1e9", "attacks.price == 601"})
    EXPECT_THAT(missed(open), HasSubstr("measured more than 600"));
}

TEST(Requirement, FiguresOfAttacksMustHaveBeenMeasured) {
  const auto asked = parse_requirements({"withheld > 0 and attacks.free_key_10 < 0.5"});
  EXPECT_ERROR(require_attack_figures(asked, nullptr, "runs/a"), ExitCode::bad_input,
               HasSubstr("attacks.free_key_10: no attack on these weights has been measured; accepted after: spankey "
                         "attack runs/a"));
  EXPECT_ERROR(require_attack_figures(asked, {{"free_key_1", 0.5}}, "runs/a"), ExitCode::bad_input,
               HasSubstr("runs/a/attack/attack.json has no such figure"));
  require_attack_figures(asked, {{"free_key_10", 0.5}}, "runs/a");
  require_attack_figures(parse_requirements({"withheld > 0"}), nullptr, "runs/a");
  // Nothing tells what a valid key gives, so that there is no price.
  EXPECT_ERROR(require_attack_figures(parse_requirements({"attacks.price > 1"}),
                                      {{"price", nullptr}, {"most_labels", 10.0}, {"priced", false}}, "runs/a"),
               ExitCode::bad_input, HasSubstr("has no such figure"));
}

TEST(Requirement, WhatCannotBeReadIsRefused) {
  for (const char* expression :
       {"", "withheld", "withheld >", "> 3", "withheld >> 3", "withheld = 3", "withheld != 3", "withheld > 3x",
        "withheld > nan", "withheld > inf", "withheld > 1 and", "withheld > 1 or withheld > 2", "a b > 1",
        "1 < withheld", "0 < withheld < 1", "and withheld > 1"})
    EXPECT_ERROR(missed(expression), ExitCode::bad_input, HasSubstr(fmt::format("--require \"{}\"", expression)));
}

}  // namespace
}  // namespace spankey::requirement_test
