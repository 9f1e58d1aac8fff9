#include "base/origin.h"

#include <gmock/gmock.h>

#include <array>

#include "support/program.h"

namespace spankey::origin_test {
namespace {

TEST(Origin, AShellReadsTheWordsBack) {
  const std::array<std::string, 7> words{"printf", "%s|", "a b", "it's", "", "$HOME `x` \\ \"q\" *", "key.gamma=1.0"};
  EXPECT_EQ(shell_quoted(words), R"(printf '%s|' 'a b' 'it'\''s' '' '$HOME `x` \ "q" *' key.gamma=1.0)");
  const auto outcome = test::run({"/bin/sh", "-c", shell_quoted(words)}, "/");
  EXPECT_EQ(outcome.out, "a b|it's||$HOME `x` \\ \"q\" *|key.gamma=1.0|");
}

TEST(Origin, TimeIsUtcInIso8601) {
  EXPECT_THAT(utc_now(),
              testing::ContainsRegex("^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z$"));
}

TEST(Origin, TheHostHasAName) {
  EXPECT_FALSE(host_name().empty());
}

}  // namespace
}  // namespace spankey::origin_test
