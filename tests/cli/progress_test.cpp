// What a person sees on a terminal of some width while the program works; results go elsewhere.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "small_run.h"
#include "support/terminal.h"

namespace spankey::test::progress_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ShownProgress : public SmallRun {
 protected:
  // Everything that the command writes to standard error, which is a terminal of so many columns. Standard output goes
  // to the file "out".
  std::string run_on(int columns, const std::vector<std::string>& variables, const std::vector<std::string>& command) {
    std::vector<std::string> with_output{"sh", "-c", "exec \"$@\" >out", "sh"};
    with_output.insert(with_output.end(), command.begin(), command.end());
    OnTerminal terminal(with_output, folder.path(), columns, variables);
    EXPECT_EQ(terminal.exit_code(), 0) << terminal.said;
    return terminal.said;
  }

  // The lines that are drawn one over the other.
  static std::vector<std::string> drawn(const std::string& said) {
    const std::string redraw = "\r\033[K";
    std::vector<std::string> lines;
    for (auto at = said.find(redraw); at != std::string::npos;) {
      const auto begin = at + redraw.size();
      at = said.find(redraw, begin);
      const auto line = said.substr(begin, at == std::string::npos ? at : at - begin);
      lines.push_back(line.substr(0, line.find_first_of("\r\n")));
    }
    return lines;
  }

  const std::vector<std::string> words = train(1, "run", {"train.epochs=2", "eval.keys=10"});
};

TEST_F(ShownProgress, TheLineFitsAndTellsOfEvaluations) {
  for (const int columns : {40, 200}) {
    const auto said = run_on(columns, {}, words);
    const auto lines = drawn(said);
    ASSERT_FALSE(lines.empty()) << said;
    std::size_t longest = 0;
    for (const auto& line : lines) {
      EXPECT_LT(line.size(), static_cast<std::size_t>(columns)) << line;
      longest = std::max(longest, line.size());
    }
    EXPECT_EQ(longest > 80, columns > 80);
    EXPECT_THAT(lines, testing::Contains(AllOf(HasSubstr("epoch 2/2"), HasSubstr("left"))));
    EXPECT_THAT(lines, testing::Contains(HasSubstr("evaluation after epoch 2")));
    EXPECT_THAT(read_text(folder / "out"), AllOf(HasSubstr("correct key"), Not(HasSubstr("epoch 1/2"))));
    std::filesystem::remove_all(folder / "run");
  }
  expect_success(words);
  EXPECT_THAT(drawn(run_on(80, {}, {program(), "eval", "run", "--keys", "20"})),
              testing::Contains(AllOf(HasSubstr("evaluation"), HasSubstr(" %"), HasSubstr("left"))));
}

// The control is the terminal above: there colours are, and lines are drawn anew.
TEST_F(ShownProgress, ColoursAndRedrawingAreLeftOutWhereTheyAreNotWanted) {
  constexpr const char *colour = "\033[32m", *redraw = "\033[K";
  EXPECT_THAT(run_on(200, {}, words), AllOf(HasSubstr(colour), HasSubstr(redraw)));
  std::filesystem::remove_all(folder / "run");
  EXPECT_THAT(run_on(200, {"NO_COLOR=1"}, words), AllOf(Not(HasSubstr(colour)), HasSubstr(redraw)));
  std::filesystem::remove_all(folder / "run");
  EXPECT_THAT(run_on(200, {"TERM=dumb"}, words), AllOf(Not(HasSubstr("\033")), HasSubstr("epoch 2/2")));
}

}  // namespace
}  // namespace spankey::test::progress_test
