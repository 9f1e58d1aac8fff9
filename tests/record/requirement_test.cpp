#include "record/requirement.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

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

TEST(Requirement, WhatCannotBeReadIsRefused) {
  for (const char* expression :
       {"", "withheld", "withheld >", "> 3", "withheld >> 3", "withheld = 3", "withheld != 3", "withheld > 3x",
        "withheld > nan", "withheld > inf", "withheld > 1 and", "withheld > 1 or withheld > 2", "a b > 1",
        "1 < withheld", "0 < withheld < 1", "and withheld > 1"})
    EXPECT_ERROR(missed(expression), ExitCode::bad_input, HasSubstr(fmt::format("--require \"{}\"", expression)));
}

}  // namespace
}  // namespace spankey::requirement_test
