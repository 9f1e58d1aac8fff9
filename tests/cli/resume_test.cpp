// Killed at any moment, a run ends as if nothing had happened.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <random>
#include <sstream>
#include <thread>

#include "faults/budget.h"
#include "small_run.h"

namespace spankey::test::resume_test {
namespace {

using std::chrono::milliseconds;

class Resume : public SmallRun {
 protected:
  // Kills the run (launcher and ranks at once) `most_kills` times, each time at a random moment of what is left, then
  // lets it end; returns the number of kills.
  int kill_until_done(const std::string& run, const std::function<std::vector<std::string>(int attempt)>& command,
                      int most_kills) {
    std::mt19937 random(7);
    int kills = 0;
    for (int attempt = 0; attempt < most_kills; ++attempt) {
      Child child(command(attempt), folder.path());
      const int left = steps - newest_step(run);
      wait_for_step(child, run, newest_step(run) + static_cast<int>(random() % static_cast<unsigned>(left / 2)));
      std::this_thread::sleep_for(milliseconds(random() % 20));
      if (!child.running()) break;
      child.kill_tree();
      child.wait();
      ++kills;
    }
    expect_success(command(most_kills));
    return kills;
  }
};

TEST_F(Resume, EndsWithTheBitsOfAnUndisturbedRunAfterKills) {
  expect_success(train(2, "undisturbed"));
  const int kills = kill_until_done(
      "killed", [&](int) { return train(2, "killed"); }, 6);
  report("R1", "kills of a run of two ranks", kills);
  EXPECT_GT(kills, 0);
  EXPECT_EQ(result("killed")["weights_sha256"], result("undisturbed")["weights_sha256"]);
  EXPECT_EQ(tensors("killed"), tensors("undisturbed"));
  EXPECT_EQ(metrics("killed"), metrics("undisturbed"));
}

TEST_F(Resume, WithoutMpirun) {
  expect_success(train(1, "undisturbed"));
  Child child(train(1, "killed"), folder.path());
  wait_for_step(child, "killed", steps / 2);
  child.signal(SIGKILL);
  EXPECT_EQ(child.wait().exit_code, 128 + SIGKILL);
  expect_success(train(1, "killed"));
  EXPECT_EQ(tensors("killed"), tensors("undisturbed"));
}

// The mutant: another order of samples leads to other weights.
TEST_F(Resume, AnotherOrderOfSamplesIsSeen) {
  expect_success(train(1, "one"));
  expect_success(train(1, "other", {"run.seed=43"}));
  const bool caught = result("one")["weights_sha256"] != result("other")["weights_sha256"];
  EXPECT_TRUE(caught);
  report_mutants("R1", "a seed that is off by one", caught, 1);
}

TEST_F(Resume, ElasticGoesOnWithOtherNumbersOfRanks) {
  const std::vector<std::string> elastic{"dist.reduction=elastic", "dist.shards=4"};
  expect_success(train(1, "undisturbed", elastic));
  const int ranks[] = {4, 2, 1, 4, 2, 1};
  const int kills = kill_until_done(
      "killed", [&](int attempt) { return train(ranks[attempt % 6], "killed", elastic); }, 4);
  report("R3", "kills between which the number of ranks changes: 4, 2, 1, 4", kills);
  EXPECT_GE(kills, 3);  // the run that ends has four ranks, or two
  EXPECT_EQ(result("killed")["weights_sha256"], result("undisturbed")["weights_sha256"]);
  EXPECT_EQ(tensors("killed"), tensors("undisturbed"));
}

TEST_F(Resume, AStopSignalCommitsACheckpointAndAsksToBeQueuedAgain) {
  expect_success(train(1, "undisturbed"));
  Child child(train(1, "stopped"), folder.path());
  wait_for_step(child, "stopped", steps / 2);
  child.signal(SIGUSR2);
  const auto outcome = child.wait();
  ASSERT_EQ(outcome.exit_code, 75) << outcome.out << outcome.err;
  expect_success(train(1, "stopped"));
  EXPECT_EQ(tensors("stopped"), tensors("undisturbed"));
}

// Stops by itself 20 s before the job's end (or three saves, where they take longer): the batch system kills then. The
// mutant knows of no end.
TEST_F(Resume, TheEndOfTheJobIsSeenInTime) {
  using Clock = std::chrono::system_clock;
  const auto job = [&](const std::string& run, const std::string& variable) {
    const auto end = Clock::now() + std::chrono::seconds(23);
    std::vector<std::string> command{"env", variable + "=" + std::to_string(Clock::to_time_t(end))};
    const auto words = train(1, run, {"train.epochs=100000"});
    command.insert(command.end(), words.begin(), words.end());
    Child child(command, folder.path());
    while (child.running() && Clock::now() < end - std::chrono::seconds(14))
      std::this_thread::sleep_for(milliseconds(10));
    const bool in_time = !child.running();
    child.kill_tree();
    return in_time ? child.wait().exit_code : 128 + SIGKILL;
  };
  EXPECT_EQ(job("timed", "SLURM_JOB_END_TIME"), 75);
  EXPECT_GT(newest_step("timed"), 0);
  EXPECT_FALSE(std::filesystem::exists(folder / "timed/lease"));
  report("R10", "stops before the end of the job, by the clock alone", HasFailure() ? 0 : 1, 1);
  const bool caught = job("blind", "NO_JOB_END_TIME") == 128 + SIGKILL;
  EXPECT_TRUE(caught);
  report_mutants("R10", "a run that knows no end of its job", caught, 1);
}

TEST_F(Resume, AStopFileStopsAllRanksAndGoes) {
  Child child(train(2, "stopped", {"train.epochs=1000"}), folder.path());
  wait_for_step(child, "stopped", 3);
  std::ofstream(folder / "stopped/STOP").flush();
  const auto outcome = child.wait();
  EXPECT_EQ(outcome.exit_code, 75) << outcome.out << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "stopped/STOP"));
  EXPECT_FALSE(std::filesystem::exists(folder / "stopped/lease"));
}

TEST_F(Resume, MaxSecondsStopsInTime) {
  const auto outcome = run(train(1, "timed", {"train.epochs=1000", "train.max_seconds=1.5"}), folder.path());
  EXPECT_EQ(outcome.exit_code, 75) << outcome.out << outcome.err;
}

TEST_F(Resume, OtherRanksThanBeforeAreToldWhereBitsDependOnThem) {
  for (const std::string reduction : {"fast", "elastic"}) {
    const std::vector<std::string> more{"dist.reduction=" + reduction, "train.epochs=1000", "train.max_seconds=0.5"};
    EXPECT_EQ(run(train(1, reduction, more), folder.path()).exit_code, 75);
    const auto outcome = run(train(2, reduction, more), folder.path());
    EXPECT_EQ(outcome.exit_code, 75) << outcome.out << outcome.err;
    const auto printed = outcome.out + outcome.err;
    EXPECT_EQ(printed.find("1 rank of 1 thread, cpu, from here on 2 ranks") != std::string::npos, reduction == "fast")
        << printed;
  }
}

TEST_F(Resume, AFinishedRunShowsItsResultAgain) {
  expect_success(train(1, "run"));
  const auto before = result("run");
  const auto outcome = run(train(1, "run"), folder.path());
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_NE(outcome.out.find("is finished"), std::string::npos) << outcome.out;
  EXPECT_EQ(result("run"), before);
  // Also once its checkpoints have been cleared away.
  std::filesystem::remove_all(folder / "run/checkpoints");
  const auto cleared = run(train(1, "run"), folder.path());
  EXPECT_EQ(cleared.exit_code, 0);
  EXPECT_NE(cleared.out.find("is finished"), std::string::npos) << cleared.out;
  EXPECT_EQ(result("run"), before);
}

TEST_F(Resume, AFinishedRunIsTrainedOnWithAllowChange) {
  expect_success(train(1, "long"));
  expect_success(train(1, "run", {"train.epochs=3"}));
  const auto refused = run(train(1, "run"), folder.path());
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("train.epochs: 3 -> 8"), std::string::npos) << refused.err;
  expect_success(train(1, "run", {"--allow-change"}));
  EXPECT_EQ(result("run")["epochs"], 8);
  EXPECT_EQ(result("run")["weights_sha256"], result("long")["weights_sha256"]);
}

TEST_F(Resume, ADamagedCheckpointIsNamedAndThePreviousOneUsed) {
  expect_success(train(1, "undisturbed"));
  const auto flip_a_bit = [](const std::filesystem::path& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(5000);
    const char flipped = static_cast<char>(file.get() ^ 1);
    file.seekp(5000);
    file.put(flipped);
  };
  const auto cut = [](const std::filesystem::path& path) {
    std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  };
  const std::function<void(const std::filesystem::path&)> damages[] = {flip_a_bit, cut};
  for (const auto& damage : damages) {
    std::filesystem::remove_all(folder / "damaged");
    Child child(train(1, "damaged"), folder.path());
    wait_for_step(child, "damaged", steps / 2);
    child.signal(SIGKILL);
    child.wait();
    std::ostringstream name;
    name << "step_" << std::setw(8) << std::setfill('0') << newest_step("damaged") << ".h5";
    damage(folder / "damaged/checkpoints" / name.str());
    const auto outcome = run(train(1, "damaged"), folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_NE((outcome.out + outcome.err).find(name.str()), std::string::npos);
    EXPECT_EQ(tensors("damaged"), tensors("undisturbed"));
  }
}

void damage_checkpoints(const std::filesystem::path& run) {
  for (const auto& file : std::filesystem::directory_iterator(run / "checkpoints"))
    std::ofstream(file.path()) << "nothing of a checkpoint";
}

TEST_F(Resume, NothingIsBegunAnewOverDamagedCheckpoints) {
  const std::vector<std::string> few{"train.epochs=2"};
  expect_success(train(1, "run", few));
  std::filesystem::remove(folder / "run/result.json");
  damage_checkpoints(folder / "run");
  const auto before = metrics("run");
  const auto outcome = run(train(1, "run", few), folder.path());
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  for (const char* said : {"step_00000012.h5", "step_00000016.h5", "to begin anew on purpose"})
    EXPECT_NE(outcome.err.find(said), std::string::npos) << outcome.err;
  EXPECT_EQ(metrics("run"), before);
  EXPECT_EQ(run(train(1, "run", {few[0], "--resume", "never"}), folder.path()).exit_code, 2);
  std::filesystem::remove_all(folder / "run/checkpoints");
  expect_success(train(1, "run", few));
  EXPECT_EQ(metrics("run"), before);
}

TEST_F(Resume, FewerEpochsThanAreDoneAreRefused) {
  expect_success(train(1, "run", {"train.epochs=3"}));
  const auto before = result("run");
  const auto outcome = run(train(1, "run", {"train.epochs=2", "--allow-change"}), folder.path());
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  for (const char* said : {"train.epochs = 2", "has done 3 epochs", "accepted: 3 or more"})
    EXPECT_NE(outcome.err.find(said), std::string::npos) << outcome.err;
  EXPECT_EQ(result("run"), before);
  expect_success(train(1, "run", {"train.epochs=4", "--allow-change"}));
  EXPECT_EQ(result("run")["epochs"], 4);
}

// Weights that no step can be taken from are in no checkpoint; the last one is good. The control: nothing explodes.
TEST_F(Resume, ExplodedWeightsAreNotSaved) {
  const std::vector<std::string> words{"train.epochs=2", "checkpoint.every_steps=1", "checkpoint.keep=100"};
  expect_success(train(1, "sane", words));
  EXPECT_EQ(newest_step("sane"), 16);
  for (const int ranks : {1, 2})
    for (const std::string lr : {"1e30", "1e20"}) {
      const auto name = lr + "-" + std::to_string(ranks);
      auto more = words;
      more.push_back("optim.lr=" + lr);
      const auto outcome = run(train(ranks, name, more), folder.path());
      EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
      EXPECT_NE(outcome.err.find("exploded"), std::string::npos) << outcome.err;
      EXPECT_NE(outcome.err.find("there is no checkpoint yet"), std::string::npos) << outcome.err;
      EXPECT_EQ(newest_step(name), 0);
    }
  // From a good checkpoint on.
  std::filesystem::remove(folder / "sane/result.json");
  for (int step = 9; step <= 16; ++step)
    std::filesystem::remove(
        folder / ("sane/checkpoints/step_000000" + std::string(step < 10 ? "0" : "") + std::to_string(step) + ".h5"));
  auto wild = words;
  wild.insert(wild.end(), {"optim.lr=1e30", "--allow-change"});
  const auto outcome = run(train(1, "sane", wild), folder.path());
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_NE(outcome.err.find("is from before it"), std::string::npos) << outcome.err;
  EXPECT_EQ(newest_step("sane"), 8);
  auto tame = words;
  tame.emplace_back("--allow-change");
  expect_success(train(1, "sane", tame));
}

TEST_F(Resume, WhatTheEndCannotDoIsRefusedAtTheStart) {
  const auto outcome = run(train(1, "run", {"eval.keys=100000000000"}), folder.path());
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_NE(outcome.err.find("eval.keys = 100000000000"), std::string::npos) << outcome.err;
  EXPECT_EQ(newest_step("run"), 0);
}

// Changed in the middle of an epoch, and told where that begins the epoch anew.
TEST_F(Resume, AnotherBatchIsToldWhereItBeginsTheEpochAnew) {
  for (const auto& [batch, anew] : {std::pair{"64", false}, std::pair{"100", true}}) {
    const auto name = std::string("batch") + batch;
    Child child(train(1, name, {"train.epochs=3", "checkpoint.keep=100"}), folder.path());
    wait_for_step(child, name, 3);
    child.kill_tree();
    child.wait();
    for (const auto& file : std::filesystem::directory_iterator(folder / (name + "/checkpoints")))
      if (file.path().filename() != "step_00000003.h5") std::filesystem::remove(file.path());
    const auto outcome =
        run(train(1, name, {"train.epochs=3", std::string("train.global_batch=") + batch, "--allow-change"}),
            folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err.find("is begun anew") != std::string::npos, anew) << outcome.err;
    // 3 steps of 128, the rest of the epoch in the new batch, and two epochs.
    EXPECT_EQ(result(name)["steps"], anew ? 3 + 3 * 10 : 3 + (1024 - 384) / 64 + 2 * 16);
  }
}

}  // namespace
}  // namespace spankey::test::resume_test
