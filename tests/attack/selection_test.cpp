#include "attack/selection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace spankey::selection_test {
namespace {

// Class 2 has two samples, the others many.
std::vector<std::int64_t> labels() {
  std::vector<std::int64_t> all{2, 2};
  for (int i = 0; i < 60; ++i) all.push_back(i % 2 == 0 ? 0 : i % 4 == 1 ? 1 : 3);
  return all;
}

std::vector<std::int64_t> select(std::int64_t count, std::int64_t seed = 0) {
  return balanced_selection(labels(), 4, count, 42, seed);
}

TEST(Selection, TheFirstOfMoreAreTheSame) {
  const auto all = select(static_cast<std::int64_t>(labels().size()));
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), labels().size());
  for (std::int64_t count = 0; count < std::ssize(all); ++count) {
    const auto some = select(count);
    ASSERT_EQ(std::ssize(some), count);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin())) << count;
  }
}

TEST(Selection, ClassesDifferByOneUntilOneRunsOut) {
  const auto of = labels();
  std::vector<std::int64_t> counts(4);
  const auto chosen = select(40);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    ++counts[static_cast<std::size_t>(of[static_cast<std::size_t>(chosen[i])])];
    const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
    if (i < 8) {
      EXPECT_LE(*most - *least, 1) << i;
    }
  }
  EXPECT_EQ(counts[2], 2);
  EXPECT_EQ(*std::max_element(counts.begin(), counts.end()) - std::min({counts[0], counts[1], counts[3]}), 1);
}

TEST(Selection, SeedsDiffer) {
  EXPECT_NE(select(12, 0), select(12, 1));
  EXPECT_NE(select(12, 1), select(12, 2));
  EXPECT_NE(balanced_selection(labels(), 4, 12, 42, 0), balanced_selection(labels(), 4, 12, 43, 0));
  // The order of the classes is drawn for each round: one image is not of the same class for every seed.
  std::set<std::int64_t> first;
  for (std::int64_t seed = 0; seed < 20; ++seed) first.insert(labels()[static_cast<std::size_t>(select(1, seed)[0])]);
  EXPECT_EQ(first.size(), 4U);
}

}  // namespace
}  // namespace spankey::selection_test
