#include "sweep/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "base/file.h"
#include "data/dataset.h"
#include "data/glyphs.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "sweep/cost.h"
#include "sweep/slurm_executor.h"
#include "sweep/sweep.h"

namespace spankey::plan_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

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

TEST_F(PlanTest, TheVanillaTwinIsNotAttacked) {
  const auto made = plan("[axes]\n\"train.twin\" = [\"none\", \"vanilla\"]\n[attack]\nimages = [10]\n");
  ASSERT_EQ(made.trials.size(), 2u);
  EXPECT_EQ(made.trials[0].attack, "--preset quick --images 10");
  EXPECT_EQ(made.trials[1].attack, "");
  const auto again = parse_plan(plan_json(made), "plan");
  EXPECT_EQ(again.attack, made.attack);
  EXPECT_EQ(again.trials[0].attack, made.trials[0].attack);
  EXPECT_EQ(again.trials[1].attack, "");
  EXPECT_THAT(plan_text(made, Ledger(made.store), false), HasSubstr("attacked after its training: --preset quick"));
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

TEST_F(PlanTest, AnAxisThatMakesNoTrialsOfItsOwnIsRefused) {
  expect_refused("[axes]\n\"key.m\" = [2, 4]\n\"checkpoint.every_steps\" = [1, 10, 100]\n",
                 AllOf(HasSubstr("sweep.toml:5"), HasSubstr("axis checkpoint.every_steps: all 3 values"),
                       HasSubstr("not part of what a trial is"), HasSubstr("[set]")));
  expect_refused("[[linked]]\n\"train.device\" = [\"cpu\", \"auto\"]\n\"run.name\" = [\"a\", \"b\"]\n",
                 AllOf(HasSubstr("sweep.toml:3"), HasSubstr("train.device, run.name")));
  expect_refused("[axes]\n\"key.m\" = [4, 4]\n", HasSubstr("all the same"));
  expect_refused("[random]\ncount = 3\n\"dist.bucket_bytes\" = {low = 2000, high = 9000}\n",
                 HasSubstr("dist.bucket_bytes"));
  // One value is no axis, and a key that goes along with another one is a label.
  EXPECT_EQ(plan("[axes]\n\"key.m\" = [2, 4]\n\"checkpoint.every_steps\" = [10]\n").trials.size(), 2u);
  const auto labelled = plan("[[linked]]\n\"key.m\" = [2, 4]\n\"run.name\" = [\"a\", \"b\"]\n");
  EXPECT_EQ(labelled.trials.size(), 2u);
  EXPECT_TRUE(labelled.merged.empty());
}

TEST_F(PlanTest, FilesWithTheSameDataAreNoAxis) {
  render_glyphs(256, 32, folder_ / "a.h5");
  std::filesystem::copy_file(folder_ / "a.h5", folder_ / "b.h5");
  const auto axis = fmt::format("[set]\n\"model.name\" = \"small_cnn\"\n[axes]\n\"data.file\" = [\"{}\", \"{}\"",
                                (folder_ / "a.h5").string(), (folder_ / "b.h5").string());
  expect_refused(axis + "]\n", AllOf(HasSubstr("axis data.file"), HasSubstr("hold the same data")));
  const auto made = plan(axis + ", \"builtin:glyphs\"]\n");
  EXPECT_EQ(made.trials.size(), 2u);
  EXPECT_EQ(made.combinations, 3u);
  EXPECT_THAT(made.merged, ElementsAre(HasSubstr("files of data.file with the same data (1 merged)")));
}

TEST_F(PlanTest, CombinationsThatAreOneTrialAreToldWithTheReason) {
  const auto named = plan(
      "[[trials]]\n\"key.m\" = 8\n\"run.name\" = \"a\"\n[[trials]]\n\"key.m\" = 8\n\"run.name\" = \"b\"\n"
      "[[trials]]\n\"key.m\" = 9\n");
  EXPECT_EQ(named.trials.size(), 2u);
  EXPECT_EQ(named.combinations, 3u);
  EXPECT_THAT(named.merged, ElementsAre(HasSubstr("run.name is not part of what a trial is")));
  EXPECT_THAT(merged_text(named), HasSubstr("3 combinations, 2 trials: run.name"));

  const auto twin = plan("[axes]\n\"train.twin\" = [\"none\", \"vanilla\"]\n\"deny.mode\" = [\"none\", \"B\"]\n");
  EXPECT_EQ(twin.trials.size(), 3u);
  EXPECT_THAT(twin.merged, ElementsAre(HasSubstr("settings of deny.mode that come to the same")));

  const auto drawn = plan("[random]\ncount = 20\nseed = 1\n\"key.m\" = [4, 8]\n");
  EXPECT_EQ(drawn.trials.size(), 2u);
  EXPECT_THAT(drawn.merged, ElementsAre("the same settings more than once (18 merged)"));
  EXPECT_THAT(merged_text(plan("[axes]\n\"key.m\" = [1, 2]\n")), IsEmpty());
}

TEST_F(PlanTest, CostComesFromTheNearestFinishedTrial) {
  const auto config = [](const std::string& text) { return parse_config(text, "x"); };
  const auto wanted = config("[train]\nepochs = 10\n[key]\nm = 8\n");
  CostModel model;
  const auto estimate = [&] { return model.estimate(model.describe(wanted, 4096)); };
  EXPECT_FALSE(estimate().measured);
  EXPECT_GT(estimate().seconds, 0);
  const auto add = [&](const std::string& text, double seconds) {
    model.add_finished(model.describe(config(text), 0), seconds);
  };
  add("[model]\nname = \"mlp\"\n[train]\nepochs = 10\n[key]\nm = 8\n", 0.1);
  EXPECT_FALSE(estimate().measured) << "another network";
  add("[train]\nepochs = 5\n[key]\nm = 16\ngamma = 1.0\n", 7.0);
  add("[train]\nepochs = 10\n[key]\nm = 16\n", 2.0);
  EXPECT_TRUE(estimate().measured);
  EXPECT_GE(estimate().seconds, 10 * 2.0);
  EXPECT_LT(estimate().seconds, 10 * 2.0 * 1.5);
}

TEST_F(PlanTest, AttacksAreInTheEstimate) {
  std::ofstream(folder_ / "sweep.toml") << "[sweep]\nbase = \"base.toml\"\n[attack]\npreset = \"quick\"\n"
                                           "[axes]\n\"deny.mode\" = [\"B\"]\n\"train.twin\" = [\"none\", "
                                           "\"vanilla\"]\n";
  const auto dataset = Dataset::open("builtin:argmax", Verify::never);
  double images = 0.0;
  const auto seconds = [&](std::size_t trial) {
    const auto made = make_plan(
        load_sweep_file(folder_ / "sweep.toml"),
        {.directory = folder_ / "d",
         .attack_images = [&](const SweepAttack& attack, std::int64_t train_samples, std::int64_t test_samples) {
           EXPECT_EQ(attack.preset, "quick");
           EXPECT_EQ(train_samples, dataset->train().size);
           EXPECT_EQ(test_samples, dataset->test().size);
           return images;
         }});
    return made.trials.at(trial).seconds;
  };
  const double keyed = seconds(0), vanilla = seconds(1);
  images = 3e6;
  const double attacked = seconds(0);
  EXPECT_GT(attacked, keyed);
  EXPECT_EQ(seconds(1), vanilla) << "it has no key to attack";
  images = 6e6;
  EXPECT_NEAR(seconds(0) - attacked, 3e6 * 5e-6 / 3, 1e-9);  // a sample of an mlp takes 5 us, a third of it forward
}

// Seconds of all units: a row is the mean of its seeds, and one without an outcome has none.
TEST_F(PlanTest, AttacksOfFinishedTrialsTellWhatTheyCost) {
  std::filesystem::create_directories(folder_ / "store/a/attack");
  std::ofstream(folder_ / "store/a/result.json") << R"({"config_hash": "h", "seconds_per_epoch": 2.0})";
  std::ofstream(folder_ / "store/a/attack/attack.json")
      << R"({"preset": "quick", "rows": [{"access": {"seeds": 3}, "cost": {"seconds": 5.0}},
                                         {"access": null, "cost": {}},
                                         {"access": {"seeds": 1}, "cost": {"seconds": 0.5}}]})";
  const auto found = finished_trials(folder_ / "store");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].attack_preset, "quick");
  EXPECT_DOUBLE_EQ(found[0].attack_seconds, 15.5);
  CostModel model;
  const auto subject = model.describe(parse_config("[model]\nname = \"mlp\"\n", "x"), 1000);
  model.add_attacked(subject, 15.5);
  model.add_attacked(subject, 16.5);
  EXPECT_DOUBLE_EQ(model.attack_seconds(subject, 1e9), 16.0);
}

// Against all differences of all pairs, one by one.
TEST_F(PlanTest, TheNearestTrialIsTheOneWithTheFewestOtherSettings) {
  std::mt19937 random(1);
  const auto some_config = [&random] {
    return parse_config(fmt::format("[model]\nname = \"{}\"\n[train]\nepochs = {}\n[key]\nm = {}\ngamma = 0.{}\n"
                                    "[optim]\nlr = {}e-3\n[run]\nseed = {}\n[checkpoint]\nevery_steps = {}\n",
                                    random() % 2 ? "mlp" : "small_cnn", 1 + random() % 3, 1 + random() % 3,
                                    1 + random() % 4, 1 + random() % 3, random() % 4, random() % 5),
                        "x");
  };
  CostModel model;
  std::vector<Config> finished;
  for (int i = 0; i < 60; ++i) {
    finished.push_back(some_config());
    model.add_finished(model.describe(finished.back(), 0), i + 1.0);
  }
  for (int i = 0; i < 60; ++i) {
    const auto wanted = some_config();
    double nearest = 0;
    std::size_t fewest = 1000;
    for (std::size_t j = 0; j < finished.size(); ++j) {
      const auto differences = config_diff(finished[j], wanted, /*hashed_only=*/true).size();
      if (finished[j].model.name != wanted.model.name || differences >= fewest) continue;
      fewest = differences;
      nearest = static_cast<double>(j) + 1.0;
    }
    CostModel alone;
    alone.add_finished(alone.describe(wanted, 0), nearest);
    EXPECT_EQ(model.estimate(model.describe(wanted, 64)).seconds, alone.estimate(alone.describe(wanted, 64)).seconds)
        << to_toml(wanted);
  }
}

// What a result says is enough for a trial of the same sweep, which is what most of a store holds; only of others the
// configuration is read.
TEST_F(PlanTest, ATrialOfThePlanIsKnownByTheHashInItsResult) {
  const std::string text = "[axes]\n\"key.m\" = [2, 4]\n";
  const auto before = plan(text);
  EXPECT_THAT(before.cost_source, HasSubstr("rule of thumb"));
  const auto run = before.store / before.trials[0].id;
  std::filesystem::create_directories(run);
  std::ofstream(run / "result.json") << fmt::format(R"({{"config_hash": "{}", "seconds_per_epoch": 1000}})",
                                                    before.trials[0].hash);
  std::ofstream(run / "config.toml") << "not read";
  EXPECT_EQ(plan(text).cost_source, "from finished trials of the store");
  // A trial of another sweep with the same key.m.
  std::filesystem::create_directories(before.store / "other");
  std::ofstream(before.store / "other" / "result.json") << R"({"config_hash": "x", "seconds_per_epoch": 5000})";
  auto other = trial_config(before, before.trials[1]);
  other.run.seed = 99;
  std::ofstream(before.store / "other" / "config.toml") << to_toml(other);
  const auto after = plan(text);
  EXPECT_GT(after.trials[0].seconds, 2 * 1000);
  EXPECT_LT(after.trials[0].seconds, 2 * 2000);
  // Both differ from the second one in one setting; the one of this plan comes first.
  EXPECT_EQ(after.trials[1].seconds, after.trials[0].seconds);
}

TEST(ArraySizes, AreCutToWhatSlurmAccepts) {
  EXPECT_THAT(array_sizes(40, 11), ElementsAre(11, 11, 11, 7));
  EXPECT_THAT(array_sizes(11, 11), ElementsAre(11));
  EXPECT_TRUE(array_sizes(0, 11).empty());
}

}  // namespace
}  // namespace spankey::plan_test
