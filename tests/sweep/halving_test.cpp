// A sweep with halving, of real processes that are killed: no epoch is trained twice, none is lost, and no trial is
// stopped before its rung.
#include "record/halving.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <thread>

#include "dummy_sweep.h"
#include "support/program.h"
#include "support/temporary_folder.h"

namespace spankey::halving_test {
namespace {

using testing::HasSubstr;

constexpr int trials = 27;

SweepPlan halving_plan(const test::TemporaryFolder& folder) {
  auto plan = test::dummy_plan(folder / "trials", trials);
  plan.directory = folder.path();
  plan.halving = SweepHalving{.metric = "figure", .rungs = {1, 3}, .factor = 3};
  for (auto& trial : plan.trials) trial.epochs = 9;
  save_plan(plan, folder.path());
  return plan;
}

std::unique_ptr<test::Child> start(const test::TemporaryFolder& folder, const char* claims = "exclusive") {
  return std::make_unique<test::Child>(
      std::vector<std::string>{SPANKEY_SWEEP_WORKER, folder.path().string(), SPANKEY_HALVING_TRIAL, claims},
      folder.path());
}

// The epochs that each trial was trained, by hash. Fails where an epoch was trained twice.
std::map<std::string, int> epochs_trained(const test::TemporaryFolder& folder, int& twice) {
  std::map<std::string, int> epochs;
  for (const auto& [line, count] : test::completions(folder.path())) {
    twice += count > 1 ? 1 : 0;
    ++epochs[line.substr(0, line.find(' '))];
  }
  return epochs;
}

// What a ranking by hand trains: the best 9 of all after one epoch, the best 3 of these after three.
std::map<std::string, int> by_hand(const SweepPlan& plan) {
  std::map<std::string, int> epochs;
  std::vector<std::string> left;
  for (const auto& trial : plan.trials) left.push_back(trial.hash);
  for (const int rung : {1, 3}) {
    const auto figure = [&](const std::string& hash) {
      return std::stoul(hash.substr(static_cast<std::size_t>(rung), 6), nullptr, 16);
    };
    for (const auto& hash : left) epochs[hash] = rung;
    std::sort(left.begin(), left.end(), [&](const auto& a, const auto& b) { return figure(a) > figure(b); });
    left.resize(left.size() / 3);
  }
  for (const auto& hash : left) epochs[hash] = 9;
  return epochs;
}

TEST(HalvingSweep, OneWorkerTrainsWhatARankingByHandTrains) {
  const test::TemporaryFolder folder;
  const auto plan = halving_plan(folder);
  EXPECT_EQ(start(folder)->wait().exit_code, 0);
  int twice = 0;
  EXPECT_EQ(epochs_trained(folder, twice), by_hand(plan));
  EXPECT_EQ(twice, 0);
  const auto counts = count_trials(plan, Ledger(plan.store));
  EXPECT_EQ(counts.done, 3);
  EXPECT_EQ(counts.stopped, 24);
  EXPECT_EQ(counts.waiting + counts.failed + counts.running, 0);
}

TEST(HalvingSweep, KillsOfEverythingLoseNothing) {
  for (unsigned seed = 1; seed <= 3; ++seed) {
    const test::TemporaryFolder folder;
    const auto plan = halving_plan(folder);
    std::mt19937 random(seed);
    int kills = 0;
    for (int attempt = 0; attempt < 12; ++attempt) {
      auto one = start(folder);
      const auto two = seed == 3 ? nullptr : start(folder);
      std::this_thread::sleep_for(std::chrono::milliseconds(10 + random() % 150));
      one->kill_tree();
      if (two) two->kill_tree();
      ++kills;
    }
    auto last = start(folder);
    const auto beside = seed == 3 ? nullptr : start(folder);
    EXPECT_EQ(last->wait().exit_code, 0);
    if (beside) {
      EXPECT_EQ(beside->wait().exit_code, 0);
    }
    EXPECT_EQ(kills, 12);

    int twice = 0;
    const auto trained = epochs_trained(folder, twice);
    const auto least = by_hand(plan);
    EXPECT_EQ(twice, 0);
    Halving halving(plan);
    halving.refresh();
    const auto states = Ledger(plan.store).read_states(plan);
    for (std::size_t i = 0; i < plan.trials.size(); ++i) {
      const auto& hash = plan.trials[i].hash;
      ASSERT_TRUE(trained.contains(hash)) << i;
      // Two workers may have promoted more than one would; whoever is among the best has gone as far as it must.
      if (seed == 3) {
        EXPECT_EQ(trained.at(hash), least.at(hash)) << i;
      } else {
        EXPECT_THAT(trained.at(hash), testing::AnyOf(1, 3, 9)) << i;
      }
      if (seed != 3 && least.at(hash) == 9) {
        EXPECT_GE(trained.at(hash), 3) << i;
      }
      EXPECT_EQ(states[i], trained.at(hash) == 9 ? TrialState::done : TrialState::stopped) << i;
      if (trained.at(hash) < 9) {
        EXPECT_THAT(*halving.stopped(i), HasSubstr("rank")) << i;
      }
    }
  }
}

// The control: without leases two workers do train epochs twice, and the count shows it.
TEST(HalvingSweep, WithoutLeasesEpochsAreTrainedTwice) {
  int twice = 0;
  for (int round = 0; round < 10 && twice == 0; ++round) {
    const test::TemporaryFolder folder;
    halving_plan(folder);
    auto one = start(folder, "none"), two = start(folder, "none");
    one->wait();
    two->wait();
    epochs_trained(folder, twice);
  }
  EXPECT_GT(twice, 0);
}

}  // namespace
}  // namespace spankey::halving_test
