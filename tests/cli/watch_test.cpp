// `spankey watch` as a person sees it on a terminal, and as another program reads it.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "base/text.h"
#include "small_run.h"
#include "support/terminal.h"

namespace spankey::test::watch_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// The lines that a terminal shows in the end. It knows the codes that the program uses, and no others.
std::vector<std::string> screen_of(const std::string& said) {
  std::vector<std::string> lines{""};
  std::size_t row = 0, column = 0;
  for (std::size_t i = 0; i < said.size(); ++i) {
    const char c = said[i];
    if (c == '\r') {
      column = 0;
    } else if (c == '\n') {
      if (++row == lines.size()) lines.emplace_back();
    } else if (c == '\033') {
      const auto end = said.find_first_not_of("0123456789;", i + 2);
      const auto number = std::strtoul(said.substr(i + 2, end - i - 2).c_str(), nullptr, 10);
      const char code = said.at(end);
      if (code == 'A') row -= std::min(row, static_cast<std::size_t>(number));
      if (code == 'H') row = column = 0;
      if (code == 'K') lines[row].resize(std::min(lines[row].size(), column));
      if (code == 'J' && number == 2) lines.assign(1, "");
      if (code == 'J' && number == 0) {
        lines.resize(row + 1);
        lines[row].resize(std::min(lines[row].size(), column));
      }
      EXPECT_NE(std::string_view("AHKJm").find(code), std::string_view::npos) << code;
      i = end;
    } else {
      lines[row].resize(std::max(lines[row].size(), column + 1), ' ');
      lines[row][column++] = c;
    }
  }
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

class Watching : public SmallRun {
 protected:
  void SetUp() override {
    write("grid/sweep.json",
          R"({"name": "grid", "base": "b.toml", "base_text": "", "store": ")" + (folder / "trials").string() +
              R"(", "max_hours": 0.0, "cost_source": "a rule", "trials": [)" +
              trial(first, "key.gamma=0.25 run.seed=1") + "," + trial(second, "key.gamma=0.25 run.seed=2") + "]}");
    state(first, "failed", "the loss is no number");
    state(second, "running", "");
    write("trials/" + second + "/config.toml", "[train]\nepochs = 4\n");
    write("trials/" + second + "/metrics.jsonl", step(10, 2.5));
  }
  static std::string trial(const std::string& id, const std::string& label) {
    return R"({"id": ")" + id + R"(", "hash": ")" + id + R"(", "settings": [["run.seed", "1"]], "label": ")" + label +
           R"(", "seconds": 2.0})";
  }
  void state(const std::string& id, const std::string& word, const std::string& reason) const {
    write("trials/" + id + "/sweep/state.json", R"({"state": ")" + word +
                                                    R"(", "attempts": 1, "idle_attempts": 0, "step": 3, "exit_code": 3,
                                                        "reason": ")" +
                                                    reason + R"(", "seconds": 1.0})");
  }
  static std::string step(int number, double loss) {
    return R"({"kind": "step", "global_step": )" + std::to_string(number) + R"(, "step": )" + std::to_string(number) +
           R"(, "steps_per_epoch": 50, "epoch": 0, "loss": )" + std::to_string(loss) +
           R"(, "samples_per_second": 1000})" + "\n";
  }
  OnTerminal watch(int columns, const std::string& every = "0.1") const {
    return {{program(), "watch", "grid", "--every", every}, folder.path(), columns, {"LC_ALL=C.UTF-8"}};
  }

  const std::string first = "0000000000000001", second = "0000000000000002";
};

TEST_F(Watching, TheTableFitsAndRenewsItself) {
  for (const int columns : {20, 40, 80, 200}) {
    auto terminal = watch(columns);
    ASSERT_TRUE(terminal.read_until("running")) << terminal.said;
    ASSERT_TRUE(terminal.read_until("\033[J")) << terminal.said;
    write("trials/" + second + "/metrics.jsonl", step(20, 1.5), std::ios::app);
    if (columns >= 80) {
      EXPECT_TRUE(terminal.read_until("1.5000")) << terminal.said;
    }
    state(second, "done", "");
    EXPECT_EQ(terminal.exit_code(), 0) << terminal.said;  // nothing runs and nothing waits
    const auto lines = screen_of(terminal.said);
    for (const auto& line : lines) EXPECT_LT(count_characters(line), static_cast<std::size_t>(columns)) << line;
    EXPECT_THAT(joined(lines), AllOf(HasSubstr("done"), HasSubstr("failed"), Not(HasSubstr("running")))) << columns;
    EXPECT_LE(lines.size(), 12U);
    SetUp();
  }
}

TEST_F(Watching, TrialsThatWaitAreShown) {
  std::filesystem::remove_all(folder / "trials" / second);
  auto terminal = watch(80);
  ASSERT_TRUE(terminal.read_until("waiting\033[0m")) << terminal.said;
  terminal.press_interrupt();
  EXPECT_EQ(terminal.exit_code(), 0) << terminal.said;
}

TEST_F(Watching, CtrlCEndsIt) {
  auto terminal = watch(80);
  ASSERT_TRUE(terminal.read_until("running"));
  terminal.press_interrupt();
  EXPECT_EQ(terminal.exit_code(), 0) << terminal.said;
}

TEST_F(Watching, AnotherWidthIsTaken) {
  auto terminal = watch(200, "3600");
  ASSERT_TRUE(terminal.read_until("samples/s"));
  ASSERT_TRUE(terminal.read_until("\033[J"));
  // Again and again, since a change that comes while the program draws is missed by some programs.
  for (const int columns : {40, 120, 60, 100, 50, 90, 70, 110, 45, 80}) {
    terminal.said.clear();
    terminal.resize(columns);
    ASSERT_TRUE(terminal.read_until("\033[J")) << terminal.said;  // long before the next look
    for (const auto& line : screen_of(terminal.said))
      EXPECT_LT(count_characters(line), static_cast<std::size_t>(columns)) << line;
  }
}

TEST_F(Watching, AFolderThatVanishesEndsIt) {
  auto terminal = watch(80);
  ASSERT_TRUE(terminal.read_until("running"));
  std::filesystem::remove_all(folder / "grid");
  EXPECT_EQ(terminal.exit_code(), 2) << terminal.said;
  EXPECT_THAT(terminal.said, HasSubstr("spankey: grid: the folder is gone"));
}

TEST_F(Watching, APipeGetsOneTableWithoutCodes) {
  const auto outcome = run({program(), "watch", "grid"}, folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("grid: 2 runs: 1 running, 1 failed"), HasSubstr("key.gamma=0.25 run.seed=2"),
                                 HasSubstr("exit code 3: the loss is no number"), Not(HasSubstr("\033"))));
  const auto on_dumb = run({"env", "TERM=dumb", program(), "watch", "grid", "--once"}, folder.path());
  EXPECT_EQ(on_dumb.out, outcome.out);
}

TEST_F(Watching, JsonIsOneLineALook) {
  const auto outcome = run({program(), "watch", "grid", "--json", "--sort", "name"}, folder.path());
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json.at("runs").at(1).at("state"), "running");
  EXPECT_EQ(json.at("runs").at(1).at("loss"), 2.5);
  state(second, "done", "");
  const auto last = run({program(), "watch", "grid", "--json", "--every", "0.1"}, folder.path());
  EXPECT_EQ(std::count(last.out.begin(), last.out.end(), '\n'), 1) << last.out;  // all is over
}

// Root may write anywhere, so the disk has to be read-only itself.
TEST_F(Watching, AReadOnlyDiskIsEnough) {
  const std::string script =
      "mount --bind . /mnt && mount -o remount,ro,bind /mnt && cd /mnt && ! touch x 2>/dev/null && "
      "exec \"$0\" watch grid";
  const auto outcome = run({"unshare", "-rm", "sh", "-c", script, program()}, folder.path());
  if (outcome.exit_code != 0 && outcome.err.find("spankey") == std::string::npos)
    GTEST_SKIP() << "no disk can be made read-only here: " << outcome.err;
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("1 running"));
}

TEST_F(Watching, MistakesAreRefused) {
  expect_refused({"watch", "nowhere"}, "nowhere: no such folder; accepted:");
  expect_refused({"watch", "grid", "--sort", "size"}, "--sort");
  expect_refused({"watch", "grid", "--every", "0"}, "--every");
}

}  // namespace
}  // namespace spankey::test::watch_test
