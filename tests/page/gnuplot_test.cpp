#include "page/gnuplot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::gnuplot_test {
namespace {

const std::vector<PlotBlock> blocks = {{{0, 0.5}, {1, NAN}}, {{2, 3}}};
constexpr const char* commands = "plot data index 0 with points, data index 1 with points";

TEST(Gnuplot, WritesDataCommandsAndPicture) {
  const test::TemporaryFolder folder;
  const auto stem = folder / "it's a plot";
  const bool drawn = write_plot(stem, commands, blocks);
  EXPECT_EQ(read_text(stem.string() + ".dat"), "0 0.5 \n1 ? \n\n\n2 3 \n");
  if (!drawn) GTEST_SKIP() << "gnuplot is not installed";
  EXPECT_NE(read_text(stem.string() + ".svg").find("viewBox=\"0 0 720 460\""), std::string::npos);
  EXPECT_NE(read_text(narrow_form_of(stem.string() + ".svg")).find("viewBox=\"0 0 390 360\""), std::string::npos);
  EXPECT_ERROR(write_plot(stem, "plot nonsense(1)", blocks), ExitCode::run_failed,
               testing::AllOf(testing::HasSubstr("gnuplot refused"), testing::HasSubstr("undefined function")));
}

TEST(Gnuplot, MissingProgramLeavesDataAndCommands) {
  const test::TemporaryFolder folder;
  const std::string before = std::getenv("PATH");
  ASSERT_EQ(::setenv("PATH", folder.path().c_str(), 1), 0);
  const bool drawn = write_plot(folder / "plot", commands, blocks);
  ::setenv("PATH", before.c_str(), 1);
  EXPECT_FALSE(drawn);
  EXPECT_TRUE(std::filesystem::exists(folder / "plot.gp"));
  EXPECT_FALSE(std::filesystem::exists(folder / "plot.svg"));
}

}  // namespace
}  // namespace spankey::gnuplot_test
