#include "study/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/file.h"
#include "data/dataset.h"
#include "study/cost.h"
#include "study/slurm_executor.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::plan_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class PlanTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(folder_ / "base.toml") << "[key]\nm = 4\n[train]\nepochs = 2\n[data]\nfile = \"builtin:argmax\"\n"
                                            "[model]\nname = \"mlp\"\n";
  }
  SweepPlan plan(const std::string& text, bool many = false) const {
    std::ofstream(folder_ / "sweep.toml") << "[sweep]\nbase = \"base.toml\"\n" << text;
    return make_plan(load_sweep_file(folder_ / "sweep.toml"), {.directory = folder_ / "d", .many_trials = many});
  }
  void expect_refused(const std::string& text, const testing::Matcher<std::string>& sentence) const {
    EXPECT_ERROR(plan(text), ExitCode::bad_input, sentence);
  }

  test::TemporaryFolder folder_;
};

TEST_F(PlanTest, TheIdentityOfATrialIsTheHashOfItsResolvedConfigurationAndData) {
  const auto made = plan("[axes]\n\"key.gamma\" = [0.5, 1.0]\n");
  ASSERT_EQ(made.trials.size(), 2u);
  const auto digest = Dataset::open("builtin:argmax", Verify::never)->info().digest;
  const auto config = load_config(folder_ / "base.toml", {"key.gamma=1.0"});
  EXPECT_EQ(made.trials[1].hash, config_hash(config, digest));
  EXPECT_EQ(made.trials[1].id, made.trials[1].hash.substr(0, 16));
  EXPECT_EQ(trial_config(made, made.trials[1]), config);
}

TEST_F(PlanTest, TrialsThatComeOutTheSameAreOne) {
  // 0.5 is the default of key.gamma, and what is not hashed makes no other trial.
  const auto made = plan(
      "[[trials]]\n\"key.gamma\" = 0.5\n[[trials]]\n\"key.m\" = 4\n[[trials]]\n\"key.m\" = 5\n"
      "[[trials]]\n\"run.name\" = \"x\"\n");
  EXPECT_EQ(made.trials.size(), 2u);
}

TEST_F(PlanTest, TrialsThatAreEqualInLawAreTold) {
  const auto made = plan(
      "[axes]\n\"key.alpha\" = [\"u01\", \"sphere\", \"gauss\"]\n\"key.multiplier\" = [\"clamp\", \"sym\", \"exp\"]\n");
  EXPECT_EQ(made.trials.size(), 9u);
  // u01 with clamp and sym; four of gauss and sphere with clamp and sym; gauss and sphere with exp.
  ASSERT_EQ(made.notes.size(), 3u);
  std::size_t four = 0;
  for (const auto& note : made.notes) {
    EXPECT_THAT(note, HasSubstr("equal in law"));
    const bool both =
        note.find("key.alpha: under") != std::string::npos && note.find("key.multiplier: for") != std::string::npos;
    if (both) ++four;
  }
  EXPECT_EQ(four, 1u);
  EXPECT_TRUE(
      plan("[set]\n\"key.rescale\" = \"batch\"\n[axes]\n\"key.alpha\" = [\"sphere\", \"gauss\"]\n").notes.empty());
  EXPECT_TRUE(plan("[set]\n\"key.gamma\" = 1.0\n[axes]\n\"key.multiplier\" = [\"clamp\", \"sym\"]\n").notes.empty());
}

TEST_F(PlanTest, IsTheSameAfterItWasWrittenAndRead) {
  const auto made =
      plan("seeds = [1, 2]\nstore = \"shared\"\n[axes]\n\"key.layers\" = [[0], [0, 1]]\n[budget]\nmax_hours = 3\n");
  test::TemporaryFolder d;
  auto written = made;
  written.store = d / "store";
  save_plan(written, d.path());
  const auto read = load_plan(d.path());
  EXPECT_EQ(plan_json(read), plan_json(written));
  EXPECT_EQ(read.max_hours, 3.0);
  EXPECT_EQ(made.store, std::filesystem::current_path() / "shared");
  EXPECT_ERROR(load_plan(d / "nowhere"), ExitCode::bad_input, HasSubstr("nowhere"));
  std::ofstream(plan_path(d.path())) << "{\"name\": ";
  EXPECT_ERROR(load_plan(d.path()), ExitCode::bad_input, HasSubstr("damaged"));
}

TEST_F(PlanTest, WhatTheConfigurationRefusesIsSaidAtTheLineOfTheSweep) {
  expect_refused("[axes]\n\"key.gama\" = [0.5]\n",
                 AllOf(HasSubstr("sweep.toml:4"), HasSubstr("key.gama"), HasSubstr("'key.gamma'")));
  expect_refused("[axes]\n\"kex.m\" = [4]\n", AllOf(HasSubstr("sweep.toml:4"), HasSubstr("'key'")));
  expect_refused("[axes]\n\"key.m\" = [4, 0]\n", AllOf(HasSubstr("sweep.toml:4"), HasSubstr("key.m = 0")));
  expect_refused("[axes]\n\"key.alpha\" = [\"u01\", \"u0\"]\n", AllOf(HasSubstr("sweep.toml:4"), HasSubstr("u01")));
  expect_refused("[axes]\n\"key.m\" = [4]\n[[exclude]]\n\"key.m\" = 4\n", HasSubstr("no trial is left"));
}

TEST_F(PlanTest, SoManyTrialsAreAskedFor) {
  const std::string large =
      "[axes]\n\"run.seed\" = {from = 1, to = 400, steps = 400}\n\"key.seed\" = {from = 1, to = 400, steps = 400}\n";
  expect_refused(large, AllOf(HasSubstr("160000"), HasSubstr("--yes")));
  EXPECT_EQ(plan(large + "[budget]\nmax_trials = 5\n", /*many=*/true).trials.size(), 5u);
}

TEST_F(PlanTest, CostComesFromTheNearestFinishedTrial) {
  Config wanted = parse_config("[train]\nepochs = 10\n[key]\nm = 8\n", "x");
  const auto by_rule = estimate_cost(wanted, 4096, {});
  EXPECT_FALSE(by_rule.measured);
  EXPECT_GT(by_rule.seconds, 0);
  const auto measured = [](const std::string& text, double seconds) {
    return MeasuredTrial{parse_config(text, "x"), seconds};
  };
  const auto near = measured("[train]\nepochs = 10\n[key]\nm = 16\n", 2.0);
  const auto far = measured("[train]\nepochs = 5\n[key]\nm = 16\ngamma = 1.0\n", 7.0);
  const auto other = measured("[model]\nname = \"mlp\"\n[train]\nepochs = 10\n[key]\nm = 8\n", 0.1);
  const auto from_near = estimate_cost(wanted, 4096, {far, near, other});
  EXPECT_TRUE(from_near.measured);
  EXPECT_GE(from_near.seconds, 10 * 2.0);
  EXPECT_LT(from_near.seconds, 10 * 2.0 * 1.5);
  EXPECT_FALSE(estimate_cost(wanted, 4096, {other}).measured);
}

TEST(ArraySizes, AreCutToWhatSlurmAccepts) {
  EXPECT_THAT(array_sizes(40, 11), ElementsAre(11, 11, 11, 7));
  EXPECT_THAT(array_sizes(11, 11), ElementsAre(11));
  EXPECT_TRUE(array_sizes(0, 11).empty());
}

}  // namespace
}  // namespace spankey::plan_test
