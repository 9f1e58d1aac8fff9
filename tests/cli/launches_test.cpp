// How the program was launched: several programs in one launch, launchers that do not fit, variables that are left
// over, words that are no text.
#include <gmock/gmock.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "small_run.h"

namespace spankey::test::launches_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Launches : public SmallRun {
 protected:
  Outcome with(std::vector<std::string> variables, const std::vector<std::string>& command) const {
    variables.insert(variables.begin(), "env");
    variables.insert(variables.end(), command.begin(), command.end());
    return run(variables, folder.path());
  }

  static std::size_t count(const std::string& text, const std::string& part) {
    std::size_t times = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++times;
    return times;
  }
};

TEST_F(Launches, ASerialCommandWorksOnOneRank) {
  const auto rendered =
      run(on_ranks(3, {"data", "render", "glyphs", "--train", "2000", "--test", "10", "--out", "g.h5"}), folder.path());
  EXPECT_EQ(rendered.exit_code, 0) << rendered.err;
  EXPECT_EQ(count(rendered.out, "2000 train"), 1U) << rendered.out;
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"config", "small.toml"}, {"data", "info", "g.h5"}, {"--version"}}) {
    const auto alone = run(on_ranks(1, words), folder.path()), several = run(on_ranks(2, words), folder.path());
    EXPECT_EQ(several.exit_code, 0) << several.err;
    EXPECT_EQ(several.out, alone.out);
  }
  const auto refused = run(on_ranks(2, {"inspect", "nothing.h5"}), folder.path());
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_EQ(count(refused.err, "spankey: "), 1U) << refused.err;
}

TEST_F(Launches, TwoRunsInOneLaunchAreRefusedBeforeAnythingIsMade) {
  auto command = train(2, "a");
  for (const char* word : {":", "-np", "1"}) command.emplace_back(word);
  const auto second = train(1, "b");
  command.insert(command.end(), second.begin(), second.end());
  const auto outcome = run(command, folder.path());
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("disagree"), HasSubstr("rank 0 has '--run-dir a'"), HasSubstr("rank 2"),
                                 HasSubstr("'--run-dir b'")));
  EXPECT_EQ(count(outcome.err, "disagree"), 1U) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "a") || std::filesystem::exists(folder / "b"));
}

TEST_F(Launches, ALauncherThatMpiDoesNotKnowIsTold) {
  const std::vector<std::string> another{"PMI_RANK=0", "PMI_SIZE=4"};
  const auto outcome = with(another, train(1, "run"));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("error: PMI_SIZE = 4"), HasSubstr("4 processes"), HasSubstr("srun --mpi=")));
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
  const auto alone = with(another, train(1, "run", {"dist.backend=self", "train.epochs=1"}));
  EXPECT_EQ(alone.exit_code, 0) << alone.err;
}

TEST_F(Launches, UnusedTasksOfAJobAreTold) {
  const std::vector<std::string> batch{"SLURM_JOB_ID=1", "SLURM_PROCID=0", "SLURM_NTASKS=2"};
  const auto outcome = with(batch, train(1, "run", {"train.epochs=1"}));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(count(outcome.err, "warning: SLURM_NTASKS = 2"), 1U) << outcome.err;
}

// Left in a shell by a job that has ended.
TEST_F(Launches, LeftOverVariablesAreNotBelieved) {
  const auto an_hour_ago = std::to_string(std::time(nullptr) - 3600);
  const auto stale = with({"SLURM_JOB_END_TIME=" + an_hour_ago}, train(1, "run", {"train.epochs=1"}));
  EXPECT_EQ(stale.exit_code, 0) << stale.err;
  EXPECT_EQ(count(stale.err, "SLURM_JOB_END_TIME"), 1U) << stale.err;
  const std::vector<std::string> rank{"SLURM_PROCID=3", "SLURM_NTASKS=4"};
  EXPECT_THAT(with(rank, {program(), "config", "small.toml"}).out, HasSubstr("[key]"));
  EXPECT_THAT(with(rank, {program(), "trian"}).err, HasSubstr("no command 'trian'"));
  // Nobody has launched this process: it must not end without a word.
  EXPECT_THAT(with({"PMI_RANK=3", "PMI_SIZE=4"}, {program(), "config", "small.toml"}).err, HasSubstr("left to rank 0"));
}

TEST_F(Launches, TextThatIsNotUtf8IsRefusedAtOnce) {
  const std::string latin = "caf\xE9";
  for (const auto& [run_directory, name] : {std::pair{std::string("run"), latin}, {latin, std::string("x")}}) {
    const auto outcome = run(train(1, run_directory, {"run.name=" + name}), folder.path());
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("caf\\xE9"), HasSubstr("accepted: text in UTF-8")));
    EXPECT_EQ(count(outcome.err, "\n"), 1U);
    EXPECT_FALSE(std::filesystem::exists(folder / run_directory));
  }
  std::filesystem::create_directory(folder / latin);
  write_durably(folder / (latin + "/s.toml"),
                std::string_view("[sweep]\nbase = \"../small.toml\"\n[axes]\n\"optim.lr\" = [0.001]\n"));
  const auto sweep = run({program(), "sweep", "run", "s.toml"}, folder / latin);
  EXPECT_EQ(sweep.exit_code, 2);
  EXPECT_THAT(sweep.err, AllOf(HasSubstr("caf\\xE9"), HasSubstr("accepted: text in UTF-8")));
}

TEST_F(Launches, AnEmptyWordIsAVariableThatIsNotSet) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"data", "render", "argmax", "--out", ""},
                                                {"data", "render", "argmax", "--out="},
                                                {"report", "x", "--out", ""},
                                                {"diagnose", "x", "--out", ""}}) {
    const auto outcome = run(on_ranks(1, words), folder.path());
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_THAT(outcome.err, HasSubstr("--out: empty"));
  }
  EXPECT_THAT(run(train(1, ""), folder.path()).err, HasSubstr("--run-dir: empty"));
}

// config.toml and the checkpoint tell of the same change.
TEST_F(Launches, AChangeIsToldOnce) {
  expect_success(train(1, "run", {"train.epochs=1"}));
  const auto outcome = run(train(1, "run", {"train.epochs=2", "--allow-change"}), folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(count(outcome.err, "train.epochs: 1 -> 2"), 1U) << outcome.err;
}

TEST_F(Launches, ARunThatIsNotThereIsCalledSo) {
  for (const char* command : {"eval", "diagnose", "inspect"}) {
    const auto outcome = run(on_ranks(1, {command, "runs/nothing"}), folder.path());
    EXPECT_EQ(outcome.exit_code, 2) << command;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("runs/nothing: no such "), Not(HasSubstr("config.toml")))) << command;
  }
}

}  // namespace
}  // namespace spankey::test::launches_test
