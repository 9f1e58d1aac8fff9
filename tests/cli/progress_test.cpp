// What a person sees on a terminal of some width while the program works; results go elsewhere.
#include <gmock/gmock.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "small_run.h"

namespace spankey::test::progress_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class OnATerminal : public SmallRun {
 protected:
  // Everything that the command writes to standard error, which is a terminal of so many columns. Standard output goes
  // to the file "out".
  std::string run_on(int columns, const std::vector<std::string>& variables, const std::vector<std::string>& command) {
    std::vector<std::string> all_words{"env", "-u", "NO_COLOR", "TERM=xterm"};
    all_words.insert(all_words.end(), variables.begin(), variables.end());
    all_words.insert(all_words.end(), command.begin(), command.end());
    std::vector<char*> arguments;
    for (auto& word : all_words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    winsize size{};
    size.ws_col = static_cast<unsigned short>(columns);
    size.ws_row = 24;
    int master = -1, slave = -1;
    EXPECT_EQ(openpty(&master, &slave, nullptr, nullptr, &size), 0);
    const pid_t child = fork();
    if (child == 0) {
      const bool ready = chdir(folder.path().c_str()) == 0 && freopen("out", "w", stdout) != nullptr;
      if (ready && dup2(slave, STDERR_FILENO) == STDERR_FILENO) execvp(arguments[0], arguments.data());
      _exit(127);
    }
    close(slave);
    std::string said;
    char part[4096];
    for (ssize_t count = 0; (count = read(master, part, sizeof part)) > 0;)
      said.append(part, static_cast<std::size_t>(count));
    close(master);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << said;
    return said;
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

TEST_F(OnATerminal, TheLineFitsAndTellsOfEvaluations) {
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
TEST_F(OnATerminal, ColoursAndRedrawingAreLeftOutWhereTheyAreNotWanted) {
  constexpr const char *colour = "\033[32m", *redraw = "\033[K";
  EXPECT_THAT(run_on(200, {}, words), AllOf(HasSubstr(colour), HasSubstr(redraw)));
  std::filesystem::remove_all(folder / "run");
  EXPECT_THAT(run_on(200, {"NO_COLOR=1"}, words), AllOf(Not(HasSubstr(colour)), HasSubstr(redraw)));
  std::filesystem::remove_all(folder / "run");
  EXPECT_THAT(run_on(200, {"TERM=dumb"}, words), AllOf(Not(HasSubstr("\033")), HasSubstr("epoch 2/2")));
}

}  // namespace
}  // namespace spankey::test::progress_test
