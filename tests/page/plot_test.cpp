#include "page/plot.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "support/temporary_folder.h"

namespace spankey::plot_test {
namespace {

TEST(ShortenedLabels, StayApart) {
  EXPECT_THAT(shortened({"short", "other"}, 10), testing::ElementsAre("short", "other"));
  const std::string same(40, 's');
  EXPECT_THAT(shortened({"optimiser adam, rate 0.1, m 4", "optimiser adam, rate 0.1, m 8"}, 12),
              testing::ElementsAre("...4", "...8"));
  const auto ends = shortened({same + "_one", same + "_two_" + same}, 12);
  EXPECT_THAT(ends, testing::ElementsAre("...one", "...tw...ssss"));
  EXPECT_EQ(shortened({same + "end"}, 13).front(), "sssss...ssend");
  // Characters are not cut in two.
  EXPECT_EQ(shortened({"\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc\u00e4\u00f6"}, 7).front(), "\u00e4\u00f6...\u00e4\u00f6");
  const auto equal = shortened({same + "x" + same, same + "y" + same}, 9);
  EXPECT_NE(equal[0], equal[1]);
}

TEST(PlotFolder, DrawsBesideTheDocumentOrBelowIt) {
  const test::TemporaryFolder folder;
  Plot plot(300);
  plot.curve({{0, 0}, {1, 1}}, "using 1:2 with lines notitle");
  plot.curve({}, "using 1:2 with lines notitle");  // nothing to draw
  plot.end_curves();
  EXPECT_EQ(plot.blocks().size(), 1U);
  PlotFolder beside(folder.path(), ""), below(folder.path());
  const auto a = beside.draw("a", plot, "title", "caption"), b = below.draw("b", plot, "title", "caption");
  EXPECT_TRUE(std::filesystem::exists(folder / "a.gp"));
  EXPECT_TRUE(std::filesystem::exists(folder / "plots/b.gp"));
  if (beside.gnuplot_missing()) GTEST_SKIP() << "gnuplot is not installed";
  EXPECT_EQ(a->svg, "a.svg");
  EXPECT_EQ(b->svg, "plots/b.svg");
}

}  // namespace
}  // namespace spankey::plot_test
