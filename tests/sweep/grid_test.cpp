#include "sweep/grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "support/expect_error.h"

namespace spankey::grid_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Dimension dimension(const std::string& key, const std::vector<std::string>& values) {
  Dimension result{"here", {}};
  for (const auto& value : values) result.rows.push_back({{key, value}});
  return result;
}

std::vector<std::string> texts(const Grid& grid) {
  std::vector<std::string> result;
  for (const auto& trial : expand(grid)) result.push_back(settings_text(trial));
  return result;
}

TEST(Grid, IsTheProductWithTheFirstDimensionSlowest) {
  Grid grid;
  grid.dimensions = {dimension("a", {"1", "2"}), dimension("b", {"3", "4", "5"})};
  EXPECT_EQ(combinations(grid), 6u);
  EXPECT_THAT(texts(grid), ElementsAre("a=1 b=3", "a=1 b=4", "a=1 b=5", "a=2 b=3", "a=2 b=4", "a=2 b=5"));
}

TEST(Grid, LinkedKeysVaryTogetherAndRowsMayDiffer) {
  Grid grid;
  grid.dimensions = {{"here", {{{"a", "1"}, {"b", "2"}}, {{"a", "3"}}, {}}}, dimension("c", {"4"})};
  EXPECT_THAT(texts(grid), ElementsAre("a=1 b=2 c=4", "a=3 c=4", "c=4"));
}

TEST(Grid, ExclusionsCompareNumbersByValue) {
  Grid grid;
  grid.dimensions = {dimension("a", {"1", "2.0"}), dimension("b", {"\"x\"", "\"y\""})};
  grid.exclude = {{"here", {{"a", "2"}, {"b", "\"x\""}}}};
  EXPECT_THAT(texts(grid), ElementsAre("a=1 b=\"x\"", "a=1 b=\"y\"", "a=2.0 b=\"y\""));
  grid.exclude = {{"here", {{"a", "1"}}}, {"there", {{"a", "2"}}}};
  EXPECT_TRUE(expand(grid).empty());
}

TEST(Grid, ExclusionsSeeWhatIsFixed) {
  Grid grid;
  grid.fixed = {{"c", "3"}};
  grid.dimensions = {dimension("a", {"1", "2"})};
  grid.exclude = {{"here", {{"c", "3.0"}, {"a", "2"}}}};
  EXPECT_THAT(texts(grid), ElementsAre("a=1"));
}

TEST(Grid, AnExclusionThatMatchesNothingIsRefused) {
  Grid grid;
  grid.fixed = {{"c", "3"}};
  grid.dimensions = {dimension("a", {"1", "2"}), dimension("b", {"\"x\""})};
  for (const Settings& never : {Settings{{"a", "3"}}, Settings{{"b", "\"X\""}}, Settings{{"c", "4"}, {"a", "1"}}}) {
    grid.exclude = {{"file:7", {{"a", "1"}}}, {"file:9", never}};
    EXPECT_ERROR(expand(grid), ExitCode::bad_input,
                 AllOf(HasSubstr(fmt::format("file:9: [[exclude]] {}", settings_text(never))), HasSubstr("accepted")));
  }
  grid.exclude = {{"file:7", {{"a", "1"}}}, {"file:9", {{"a", "1"}, {"b", "\"x\""}}}};  // the first leaves it nothing
  EXPECT_THAT(texts(grid), ElementsAre("a=2 b=\"x\""));
}

TEST(Grid, WithoutDimensionsIsOneTrial) {
  EXPECT_EQ(combinations(Grid{}), 1u);
  EXPECT_EQ(expand(Grid{}).size(), 1u);
}

TEST(Grid, CountsBeyondWhatFits) {
  Grid grid;
  const Dimension large{"here", std::vector<Settings>(100'000)};
  grid.dimensions.assign(4, large);  // 10^20
  EXPECT_EQ(combinations(grid), std::numeric_limits<std::uint64_t>::max());
}

}  // namespace
}  // namespace spankey::grid_test
