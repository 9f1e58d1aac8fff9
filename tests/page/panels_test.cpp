#include "page/panels.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace spankey::panels_test {
namespace {

using testing::HasSubstr;
using testing::Not;

// Left, right, top and bottom margin that gnuplot is given for a panel, as shares of the figure.
std::vector<double> margins(const Panels& panels, std::size_t i) {
  std::vector<double> found;
  const auto text = panels.place(i);
  for (const char* side : {"lmargin", "rmargin", "tmargin", "bmargin"}) {
    const auto words = std::string("set ") + side + " at screen ";
    found.push_back(std::stod(text.substr(text.find(words) + words.size())));
  }
  return found;
}

TEST(Panels, AreOfOneSizeAndApart) {
  for (const std::size_t count : {1, 2, 3, 4, 7, 12}) {
    const auto panels = arrange_panels(count);
    const auto first = margins(panels, 0);
    for (std::size_t i = 0; i < count; ++i) {
      const auto a = margins(panels, i);
      EXPECT_GT(a[0], 0.0);
      EXPECT_LT(a[1], 1.0);
      EXPECT_LT(a[2], 1.0);
      EXPECT_GT(a[3], 0.0);
      EXPECT_NEAR(a[1] - a[0], first[1] - first[0], 2e-4);
      EXPECT_NEAR(a[2] - a[3], first[2] - first[3], 2e-4);
      for (std::size_t j = 0; j < i; ++j) {
        const auto b = margins(panels, j);
        EXPECT_TRUE(a[0] > b[1] || b[0] > a[1] || a[3] > b[2] || b[3] > a[2]) << count << ": " << i << " and " << j;
      }
    }
  }
}

TEST(Panels, StandBelowEachOtherInTheNarrowForm) {
  const auto panels = arrange_panels(3);
  EXPECT_GT(panels.narrow_height(), 2 * panels.height());
  const auto narrow = [&](std::size_t i) {
    const auto text = panels.place(i);
    return text.substr(text.find("else"));
  };
  const auto number = [](const std::string& text, const std::string& side) {
    const auto words = "set " + side + " at screen ";
    return std::stod(text.substr(text.find(words) + words.size()));
  };
  for (std::size_t i = 0; i + 1 < 3; ++i) {
    EXPECT_EQ(number(narrow(i), "lmargin"), number(narrow(i + 1), "lmargin"));
    EXPECT_GT(number(narrow(i), "bmargin"), number(narrow(i + 1), "tmargin"));
  }
  EXPECT_THAT(panels.ylabel(0, "it's"), testing::StrEq("set ylabel 'it''s'"));
  EXPECT_THAT(panels.ylabel(1, "a"), HasSubstr("else {\nset ylabel 'a'"));
}

TEST(Panels, ALegendNamesEachSeriesOnce) {
  Legend legend;
  legend.add("it's", "points pt 7");
  legend.add("it's", "points pt 8");
  legend.add("b", "lines");
  const auto text = legend.draw(arrange_panels(2));
  EXPECT_THAT(text, HasSubstr("plot NaN with points pt 7 title 'it''s', \\\n     NaN with lines title 'b'"));
  EXPECT_THAT(text, Not(HasSubstr("pt 8")));
  EXPECT_EQ(Legend().draw(arrange_panels(2)), "");
}

TEST(Panels, ChosenByTheirScoresInTheirOrder) {
  const auto itself = [](int value) { return static_cast<double>(value); };
  EXPECT_THAT(evenly_chosen(std::vector{8, 1, 0, 3, 4, 6, 5, 7, 2}, 3, itself), testing::ElementsAre(8, 0, 4));
  EXPECT_THAT(evenly_chosen(std::vector{2, 0, 1}, 3, itself), testing::ElementsAre(2, 0, 1));
}

}  // namespace
}  // namespace spankey::panels_test
