#include "base/error.h"

#include "support/expect_error.h"

namespace spankey::error_test {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

TEST(Error, CarriesSentenceAndCode) {
  EXPECT_ERROR(fail_input("{}:{}: bad", "a.toml", 3), ExitCode::bad_input, "a.toml:3: bad");
  EXPECT_ERROR(fail_run("disk {} full", "x"), ExitCode::run_failed, "disk x full");
  EXPECT_EQ(static_cast<int>(ExitCode::requeue), 75);
}

TEST(Error, CheckPrintsPlaceExpressionAndBothValues) {
  const int two = 2;
  EXPECT_ERROR(SPANKEY_CHECK_EQ(two + 1, 4), ExitCode::run_failed,
               AllOf(HasSubstr("error_test.cpp:"), HasSubstr("two + 1 == 4"), EndsWith("3 against 4")));
  EXPECT_ERROR(SPANKEY_CHECK_LT(two, 2), ExitCode::run_failed, HasSubstr("2 against 2"));
  EXPECT_ERROR(SPANKEY_CHECK(two == 3), ExitCode::run_failed, EndsWith("check failed: two == 3"));
  EXPECT_NO_THROW(SPANKEY_CHECK_LE(two, 2));
}

TEST(Error, CheckEvaluatesItsArgumentsOnce) {
  int calls = 0;
  SPANKEY_CHECK_EQ(++calls, 1);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace spankey::error_test
