// Successive halving decided from files: the same trials go on whoever looks when, and none stops before its rung.
#include "record/halving.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <random>
#include <set>

#include "base/digest.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::halving_test {
namespace {

using testing::HasSubstr;

constexpr std::size_t trials = 27;

class HalvingTest : public testing::Test {
 protected:
  SweepPlan plan_of(const std::string& name, bool maximise = true) const {
    SweepPlan plan;
    plan.directory = folder_ / name;
    plan.store = folder_ / (name + "/trials");
    plan.halving = SweepHalving{.metric = "figure", .maximise = maximise, .rungs = {1, 3}, .factor = 3};
    for (std::size_t i = 0; i < trials; ++i) {
      PlannedTrial trial;
      trial.hash = to_hex(sha256(std::to_string(i)));
      trial.id = trial.hash.substr(0, 16);
      trial.label = "number=" + std::to_string(i);
      trial.epochs = 9;
      plan.trials.push_back(trial);
    }
    return plan;
  }

  // What a trial leaves that has been evaluated after `epochs` epochs.
  static void evaluate(const SweepPlan& plan, std::size_t trial, std::int64_t epochs, double figure) {
    const auto folder = plan.store / plan.trials[trial].id;
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "metrics.jsonl", std::ios::app)
        << nlohmann::json{{"kind", "eval"}, {"epoch", epochs - 1}, {"global_step", epochs}, {"figure", figure}} << "\n";
  }

  // Figures of the trials, all different, whose order changes with the epochs.
  static double figure_of(std::size_t trial, std::int64_t epochs) {
    return static_cast<double>((trial * 7 + static_cast<std::size_t>(epochs) * 11) % trials);
  }

  // The trials that a full ranking by hand lets through rung 1 and rung 3.
  static std::set<std::size_t> best(std::set<std::size_t> of, std::int64_t epochs, std::size_t count) {
    std::vector<std::size_t> order(of.begin(), of.end());
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return figure_of(a, epochs) > figure_of(b, epochs); });
    return {order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count)};
  }

  // Trains all trials in a random order, deciding after each step; with `early` the best of those measured go on as
  // soon as they can. Returns the trials that have passed each rung.
  std::vector<std::set<std::size_t>> run(const SweepPlan& plan, unsigned seed, bool early) const {
    std::mt19937 random(seed);
    const std::vector<TrialState> states(trials, TrialState::waiting);
    while (true) {
      Halving halving(plan);  // as a worker that has just begun
      halving.refresh();
      halving.decide(states);
      if (early && halving.promote_early(states)) continue;
      std::vector<std::size_t> free;
      for (std::size_t i = 0; i < trials; ++i)
        if (!halving.stopped(i) && !halving.is_paused(i) && halving.pause_epochs(i) > 0) free.push_back(i);
      if (free.empty()) {
        std::vector<std::set<std::size_t>> passed(2);
        for (std::size_t i = 0; i < trials; ++i)
          for (std::size_t rung = 0; rung < halving.rungs_passed(i); ++rung) passed[rung].insert(i);
        return passed;
      }
      const auto trial = free[random() % free.size()];
      const auto epochs = halving.pause_epochs(trial);
      evaluate(plan, trial, epochs, figure_of(trial, epochs));
      halving.measure(trial, epochs);
    }
  }

  test::TemporaryFolder folder_;
};

TEST_F(HalvingTest, TheSameTrialsGoOnInEveryOrder) {
  std::set<std::size_t> all;
  for (std::size_t i = 0; i < trials; ++i) all.insert(i);
  const auto first = best(all, 1, 9), second = best(first, 3, 3);
  for (unsigned seed = 0; seed < 3; ++seed) {
    const auto passed = run(plan_of("ordered" + std::to_string(seed)), seed, /*early=*/false);
    EXPECT_EQ(passed[0], first) << seed;
    EXPECT_EQ(passed[1], second) << seed;
  }
  // The control: what ASHA promotes depends on the order, and it promotes no less.
  int others = 0;
  for (unsigned seed = 0; seed < 3; ++seed) {
    const auto passed = run(plan_of("early" + std::to_string(seed)), seed, /*early=*/true);
    others += passed[0] != first ? 1 : 0;
    for (const auto trial : second) EXPECT_TRUE(passed[1].contains(trial) || passed[0].contains(trial)) << trial;
  }
  EXPECT_GT(others, 0);
}

TEST_F(HalvingTest, NoTrialIsStoppedBeforeItsRungAndEachReasonIsKept) {
  const auto plan = plan_of("kept");
  run(plan, 1, /*early=*/false);
  Halving later(plan);
  later.refresh();
  int stopped = 0;
  for (std::size_t i = 0; i < trials; ++i) {
    const auto* reason = later.stopped(i);
    if (!reason) continue;
    ++stopped;
    const auto epochs = later.rungs_passed(i) == 0 ? 1 : 3;
    EXPECT_EQ(evaluation_after(plan.store / plan.trials[i].id / "metrics.jsonl", epochs).at("epoch"), epochs - 1);
    EXPECT_THAT(*reason, HasSubstr("figure = "));
    EXPECT_THAT(*reason, HasSubstr("of 27 trials go on"));
  }
  EXPECT_EQ(stopped, 24);
  EXPECT_EQ(later.text(),
            "halving by figure (max): after 1 epoch 27 measured, 9 go on, 18 stopped; after 3 epochs 9 measured, 3 go "
            "on, 6 stopped");
}

TEST_F(HalvingTest, AFailedTrialHoldsNobodyUpAndATieGoesToTheFirst) {
  auto plan = plan_of("failed", /*maximise=*/false);
  plan.trials.resize(6);
  std::vector<TrialState> states(6, TrialState::waiting);
  Halving halving(plan);
  for (const std::size_t i : {1, 2, 3, 4}) {
    evaluate(plan, i, 1, i == 4 ? 0.5 : 1.0);
    halving.measure(i, 1);
  }
  halving.decide(states);
  EXPECT_EQ(halving.rungs_passed(4), 0u);  // 0 and 5 may still be better
  EXPECT_TRUE(halving.is_paused(1));
  ASSERT_NE(halving.stopped(2), nullptr);  // behind 4 and 1 whatever the others do
  EXPECT_NE(halving.stopped(3), nullptr);
  states[0] = states[5] = TrialState::failed;
  halving.decide(states);
  EXPECT_EQ(halving.rungs_passed(4), 1u);
  EXPECT_EQ(halving.rungs_passed(1), 1u);
}

TEST_F(HalvingTest, TheFirstWordHoldsAndADamagedOneIsWrittenAgain) {
  auto plan = plan_of("words");
  plan.trials.resize(3);
  const std::vector<TrialState> states(3, TrialState::waiting);
  Halving one(plan), two(plan);
  for (std::size_t i = 0; i < 3; ++i) {
    evaluate(plan, i, 1, static_cast<double>(i));
    one.measure(i, 1);
  }
  two.refresh();
  EXPECT_EQ(one.decide(states).size(), 3u);
  EXPECT_TRUE(two.decide(states).empty());  // it takes the word of the first
  EXPECT_EQ(two.rungs_passed(2), 1u);
  ASSERT_NE(two.stopped(0), nullptr);

  for (const auto& entry : std::filesystem::recursive_directory_iterator(plan.directory / "halving"))
    if (entry.path().string().ends_with(plan.trials[2].id + "-1.decided.json")) std::ofstream(entry.path()) << "{\"dec";
  Halving third(plan);
  third.refresh();
  EXPECT_TRUE(third.is_paused(2));
  EXPECT_EQ(third.decide(states).size(), 1u);
  EXPECT_EQ(third.rungs_passed(2), 1u);
}

TEST_F(HalvingTest, AFigureThatTheRunLacksIsNamedWithItsNeighbour) {
  auto plan = plan_of("lacking");
  plan.halving->metric = "figur";
  Halving halving(plan);
  EXPECT_ERROR(halving.measure(0, 1), ExitCode::run_failed, HasSubstr("has no evaluation after 1 epoch"));
  evaluate(plan, 0, 1, 1.0);
  EXPECT_ERROR(halving.measure(0, 1), ExitCode::bad_input, HasSubstr("did you mean 'figure'?"));
}

TEST(Objective, AddsAndSubtracts) {
  const nlohmann::json evaluation{{"correct_key", {{"accuracy", {{"mean", 0.9}, {"max", 0.95}}}}},
                                  {"verdict", {{"withheld", 0.25}}}};
  const nlohmann::json attacks{{"worst_case", {{"access", 0.5}}}};
  const auto value = [&](const char* text) {
    return value_of(parse_objective(text, "here"), evaluation, attacks).value_or(-9);
  };
  EXPECT_DOUBLE_EQ(value("correct_key.accuracy"), 0.9);
  EXPECT_DOUBLE_EQ(value("correct_key.accuracy - attacks.worst_case.access + withheld"), 0.65);
  EXPECT_DOUBLE_EQ(value("correct_key.accuracy.max"), 0.95);
  EXPECT_DOUBLE_EQ(value("no_key.accuracy"), -9);
  for (const char* wrong : {"", "-", "a -", "a b", "a + + b"})
    EXPECT_ERROR(parse_objective(wrong, "here"), ExitCode::bad_input, HasSubstr("here: "));
}

}  // namespace
}  // namespace spankey::halving_test
