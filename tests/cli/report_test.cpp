#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "base/file.h"
#include "small_run.h"

namespace spankey::test::report_test {
namespace {

using Report = SmallRun;

TEST_F(Report, OfOneRunAndOfAFolder) {
  expect_success(train(1, "runs/a", {"train.epochs=1"}));
  expect_success(train(1, "runs/b", {"train.epochs=1", "run.seed=43"}));
  const auto one = run({program(), "report", "runs/a"}, folder.path());
  ASSERT_EQ(one.exit_code, 0) << one.err;
  const auto page = read_text(folder / "runs/a/report/index.html");
  EXPECT_NE(page.find("Access by key"), std::string::npos);
  EXPECT_NE(page.find("access conditioning"), std::string::npos);
  EXPECT_EQ(page.find("encrypt"), std::string::npos);
  const auto all = run({program(), "report", "runs", "--out", "out"}, folder.path());
  ASSERT_EQ(all.exit_code, 0) << all.err;
  EXPECT_NE(read_text(folder / "out/report.md").find("2 runs in one group"), std::string::npos);
  for (const char* file : {"out/index.html", "out/trials.csv", "out/groups.csv"})
    EXPECT_TRUE(std::filesystem::exists(folder / file)) << file;
}

TEST_F(Report, InspectBeginsWithTheFigures) {
  expect_success(train(1, "run", {"train.epochs=1"}));
  const auto text = run({program(), "inspect", "run"}, folder.path()).out;
  ASSERT_NE(text.find("basis_digest"), std::string::npos) << text;
  EXPECT_LT(text.find("correct key"), text.find("basis_digest")) << text;
  EXPECT_LT(text.find("correct key"), text.find("conv1.weight")) << text;
}

// Four commands tell the same of a run that has failed.
TEST_F(Report, ARunThatFailedBeforeItsFirstCheckpointIsShown) {
  ASSERT_EQ(run(train(1, "runs/run", {"optim.lr=1e30"}), folder.path()).exit_code, 3);
  const auto said = [&](std::vector<std::string> words) {
    words.insert(words.begin(), program());
    const auto outcome = run(words, folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  const std::string reason = "loss or gradient is not finite";
  EXPECT_EQ(said({"inspect", "runs/run"}).find("failed: epoch 1, step 1: " + reason), 0U);
  for (const auto& words : {std::vector<std::string>{"ls", "runs"}, {"watch", "runs", "--once"}}) {
    const auto text = said(words);
    EXPECT_THAT(text, testing::AllOf(testing::HasSubstr("failed"), testing::HasSubstr(reason)));
  }
  said({"report", "runs", "--out", "out"});
  EXPECT_THAT(read_text(folder / "out/report.md"),
              testing::AllOf(testing::HasSubstr("| failed | 42 |"), testing::HasSubstr(reason),
                             testing::HasSubstr("rank0.log")));
}

TEST_F(Report, InspectShowsAResultWhoseCheckpointsAreGone) {
  expect_success(train(1, "run", {"train.epochs=1"}));
  std::filesystem::remove_all(folder / "run/checkpoints");
  const auto text = run({program(), "inspect", "run"}, folder.path()).out;
  EXPECT_LT(text.find("correct key"), text.find("none that is valid")) << text;
  std::filesystem::create_directories(folder / "empty");
  expect_refused({"inspect", "empty"}, "neither a configuration nor a valid checkpoint");
}

TEST_F(Report, WithoutGnuplotTablesAreWritten) {
  expect_success(train(1, "run", {"train.epochs=1"}));
  const auto outcome =
      run({"/usr/bin/env", "PATH=/nowhere", program(), "report", "run", "--out", "out"}, folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto said = outcome.out + outcome.err;
  const auto first = said.find("gnuplot is not installed");
  EXPECT_NE(first, std::string::npos) << said;
  EXPECT_EQ(said.find("gnuplot is not installed", first + 1), std::string::npos) << said;
  const auto page = read_text(folder / "out/index.html");
  EXPECT_NE(page.find("<table>"), std::string::npos);
  EXPECT_EQ(page.find("<svg"), std::string::npos);
}

TEST_F(Report, ALivePageIsWrittenUntilCtrlC) {
  std::filesystem::create_directories(folder / "run");
  std::ofstream(folder / "run/config.toml") << small_config;
  const auto page = folder / "out/index.html";
  Child child({program(), "report", "run", "--out", "out", "--live", "--every", "1"}, folder.path());
  const auto wait_for = [&](const std::string& text) {
    while (child.running() && (!std::filesystem::exists(page) || read_text(page).find(text) == std::string::npos))
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  };
  wait_for("not evaluated so far");
  std::ofstream(folder / "run/metrics.jsonl")
      << R"({"kind": "eval", "epoch": 0, "global_step": 8, "correct_key": {"accuracy": {"mean": 0.875}}})"
      << "\n";
  wait_for("8 steps done");
  EXPECT_TRUE(child.running());
  EXPECT_NE(read_text(page).find("http-equiv=\"refresh\" content=\"1\""), std::string::npos);
  child.signal(SIGINT);
  EXPECT_EQ(child.wait().exit_code, 0);
  expect_refused({"report", "run", "--live", "--every", "0"}, "--every");
}

TEST_F(Report, DifferentDataMakeTablesOfTheirOwn) {
  expect_success(train(1, "runs/glyphs", {"train.epochs=1"}));
  expect_success(train(1, "runs/argmax",
                       {"train.epochs=1", "data.file=builtin:argmax", "model.name=mlp", "key.layers=[0]", "key.m=2"}));
  const auto outcome = run({program(), "report", "runs", "--out", "out"}, folder.path());
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto text = read_text(folder / "out/report.md");
  EXPECT_NE(text.find("2 different data sets"), std::string::npos);
  for (const char* data : {"builtin:argmax", "builtin:glyphs"}) {
    const auto heading = text.find(std::string("## Access by group: ") + data);
    ASSERT_NE(heading, std::string::npos) << data;
    const auto section = text.substr(heading, text.find("\n## ", heading) - heading);
    EXPECT_EQ(section.find(data == std::string("builtin:argmax") ? "glyphs" : "argmax"), std::string::npos) << section;
  }
}

TEST_F(Report, BadInputIsOneSentence) {
  std::filesystem::create_directories(folder / "empty");
  for (const auto& [directory, sentence] :
       {std::pair("nowhere", "no such directory"), std::pair("empty", "no run found")}) {
    const auto outcome = run({program(), "report", directory, "--out", "out"}, folder.path());
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_NE(outcome.err.find(sentence), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
}

}  // namespace
}  // namespace spankey::test::report_test
