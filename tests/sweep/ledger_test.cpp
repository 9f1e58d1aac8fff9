#include "record/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <set>

#include "base/file.h"
#include "dummy_sweep.h"
#include "faults/budget.h"
#include "record/sweep_status.h"
#include "support/temporary_folder.h"
#include "sweep/attempt.h"
#include "sweep/sweep.h"
#include "sweep/trial_queue.h"

namespace spankey::ledger_test {
namespace {

using testing::HasSubstr;

class LedgerTest : public testing::Test {
 protected:
  void write(const std::filesystem::path& path, const std::string& text) const {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::filesystem::path state(int i) const { return plan_.store / plan_.trials[i].id / "sweep" / "state.json"; }

  test::TemporaryFolder folder_;
  SweepPlan plan_ = test::dummy_plan(folder_ / "trials", 4);
  Ledger ledger_{plan_.store};
};

TEST_F(LedgerTest, AClaimExcludesOthersAndItsOutcomeIsRead) {
  const auto& trial = plan_.trials[0];
  EXPECT_EQ(ledger_.read(trial.id).state, TrialState::waiting);
  {
    auto claim = ledger_.claim(trial);
    ASSERT_TRUE(claim);
    EXPECT_EQ(ledger_.read(trial.id).state, TrialState::running);
    EXPECT_FALSE(Ledger(plan_.store).claim(trial)) << "a second worker";
    EXPECT_TRUE(Ledger(plan_.store, Claims::none).claim(trial)) << "the control";
    auto entry = claim->entry();
    entry.state = TrialState::failed;
    entry.exit_code = 137;
    entry.reason = "ended by signal 9 \xff";  // whatever a log may hold
    entry.attempts = 2;
    entry.seconds = 1.5;
    EXPECT_TRUE(claim->write(entry));
  }
  const auto entry = ledger_.read(trial.id);
  EXPECT_EQ(entry.state, TrialState::failed);
  EXPECT_TRUE(entry.crashed());
  EXPECT_EQ(entry.attempts, 2);
  EXPECT_EQ(entry.seconds, 1.5);
  EXPECT_THAT(entry.reason, HasSubstr("signal 9"));
  EXPECT_FALSE(ledger_.claim(trial)) << "failed is for --retry-failed";
}

TEST_F(LedgerTest, AResultOfTheSameConfigurationNeedsNoRun) {
  const auto& mine = plan_.trials[0];
  const auto& changed = plan_.trials[1];
  write(ledger_.run_directory(mine.id).result(), "{\"config_hash\": \"" + mine.hash + "\"}");
  write(ledger_.run_directory(changed.id).result(), "{\"config_hash\": \"of another one\"}");
  const auto& damaged = plan_.trials[2];
  write(ledger_.run_directory(damaged.id).result(), "{\"config_hash\": [1]}");
  EXPECT_FALSE(ledger_.claim(mine));
  EXPECT_EQ(ledger_.read(mine.id).state, TrialState::done);
  EXPECT_TRUE(ledger_.claim(changed));
  EXPECT_TRUE(ledger_.claim(damaged));
}

TEST_F(LedgerTest, ADamagedEntryIsKeptAsideAndTheTrialBegunAnew) {
  const auto& trial = plan_.trials[0];
  const std::vector<std::string> damages{
      "",
      "{",
      "[]",
      "{\"state\": \"done\"}",
      std::string(100, '\0'),
      "{\"state\":\"finished\",\"attempts\":1}",
      R"({"state":"done","attempts":9223372036854775807,"idle_attempts":0,"step":1,"exit_code":0,"reason":"","seconds":1})",
      R"({"state":"done","attempts":1e300,"idle_attempts":0,"step":1,"exit_code":0,"reason":"","seconds":1})"};
  for (std::size_t i = 0; i < damages.size(); ++i) {
    write(state(0), damages[i]);
    EXPECT_EQ(ledger_.read(trial.id).state, TrialState::waiting) << damages[i];
    const auto claim = ledger_.claim(trial);
    ASSERT_TRUE(claim) << damages[i];
    EXPECT_EQ(claim->entry().attempts, 0);
    EXPECT_FALSE(std::filesystem::exists(state(0)));
    const auto aside = i == 0 ? "state.json.damaged" : fmt::format("state.json.{}.damaged", i + 1);
    EXPECT_EQ(read_text(state(0).parent_path() / aside), damages[i]);
  }
}

TEST_F(LedgerTest, ATrialWhoseRunIsStillAliveIsNotTaken) {
  const auto& trial = plan_.trials[0];
  std::filesystem::create_directories(ledger_.run_directory(trial.id).root);
  {
    const Lease run(ledger_.run_directory(trial.id).root);  // ranks that outlive their launcher
    EXPECT_FALSE(ledger_.claim(trial));
  }
  EXPECT_TRUE(ledger_.claim(trial));
}

TEST_F(LedgerTest, TheQueueHandsOutTheLongestFirstAndEndsWhenAllHaveEnded) {
  plan_.trials[0].seconds = 1;
  plan_.trials[1].seconds = 3;
  plan_.trials[2].seconds = 2;
  plan_.trials[3].seconds = 3;
  TrialQueue queue(plan_, ledger_);
  std::vector<std::int64_t> order;
  for (auto taken = queue.next(); taken; taken = queue.next()) {
    order.push_back(taken->trial - plan_.trials.data());
    auto entry = taken->claim.entry();
    entry.state = order.size() == 2 ? TrialState::failed : TrialState::done;
    taken->claim.write(entry);
  }
  EXPECT_THAT(order, testing::ElementsAre(1, 3, 2, 0));
  EXPECT_EQ(queue.left(), 0u);
  EXPECT_EQ(queue.done(), 3);
  EXPECT_EQ(queue.failed(), 1);
}

// A hiccup of the file system is no damage: the entry is there again a moment later.
TEST_F(LedgerTest, AnEntryThatCannotBeReadNowIsLeftAlone) {
  const auto& trial = plan_.trials[0];
  auto entry = ledger_.claim(trial)->entry();
  entry.state = TrialState::done;
  ledger_.claim(trial)->write(entry);
  const auto aside = state(0).parent_path() / "aside";
  std::filesystem::rename(state(0), aside);
  std::filesystem::create_symlink(state(0), state(0));  // too many levels of links, also for root
  EXPECT_EQ(ledger_.read(trial.id).state, TrialState::waiting);
  EXPECT_THROW(ledger_.claim(trial), Error);
  std::filesystem::rename(aside, state(0));
  EXPECT_FALSE(ledger_.claim(trial));
  EXPECT_EQ(ledger_.read(trial.id).state, TrialState::done);
}

TEST_F(LedgerTest, AnErrorLosesNoTrialOfTheQueue) {
  TrialQueue queue(plan_, ledger_);
  std::filesystem::create_directories(state(1).parent_path());
  std::filesystem::create_symlink(state(1), state(1));
  auto claim = ledger_.claim(plan_.trials[0]);
  auto entry = claim->entry();
  entry.state = TrialState::done;
  claim->write(entry);
  EXPECT_THROW(queue.next(), Error);
  std::filesystem::remove(state(1));
  const auto later = TrialQueue::Clock::now() + TrialQueue::longest_pause;
  std::set<const PlannedTrial*> taken;
  std::vector<TrialClaim> held;
  for (auto next = queue.next(later); next; next = queue.next(later)) {
    taken.insert(next->trial);
    held.push_back(std::move(next->claim));
  }
  EXPECT_EQ(taken.size(), 3u);
  EXPECT_EQ(queue.done(), 1);
}

TEST_F(LedgerTest, WorkersThatBeginTogetherBeginWithOtherTrials) {
  std::set<const PlannedTrial*> first;
  for (std::size_t worker = 0; worker < 4; ++worker) {
    TrialQueue queue(plan_, ledger_, {.index = worker, .of = 4});
    const auto taken = queue.next();
    ASSERT_TRUE(taken);
    first.insert(taken->trial);
    EXPECT_EQ(queue.looks(), 1);
  }
  EXPECT_EQ(first.size(), 4u);
  // What is left of the others' share is taken as well.
  TrialQueue alone(plan_, ledger_, {.index = 2, .of = 4});
  std::vector<TrialClaim> held;
  for (auto next = alone.next(); next; next = alone.next()) held.push_back(std::move(next->claim));
  EXPECT_EQ(held.size(), 4u);
}

// Asked five times a second for ten minutes, as an idle group of ranks does.
TEST_F(LedgerTest, ATrialThatAnotherWorkerRunsIsLookedAtLessAndLess) {
  std::vector<TrialClaim> others;
  for (const auto& trial : plan_.trials) others.push_back(*ledger_.claim(trial));
  TrialQueue queue(plan_, ledger_);
  const auto begin = TrialQueue::Clock::now();
  const auto ask = [&](int from_second, int to_second) {
    const auto before = queue.looks();
    for (int i = 5 * from_second; i < 5 * to_second; ++i)
      EXPECT_FALSE(queue.next(begin + std::chrono::milliseconds(200 * i)));
    return queue.looks() - before;
  };
  EXPECT_LE(ask(0, 60), 4 * 15);
  EXPECT_LE(ask(60, 600), 4 * 20);
  auto entry = others[2].entry();
  entry.state = TrialState::done;
  others[2].write(entry);
  others.clear();  // the other three are waiting again
  const auto later = begin + std::chrono::seconds(630);
  std::set<const PlannedTrial*> taken;
  for (auto next = queue.next(later); next; next = queue.next(later)) {
    taken.insert(next->trial);
    others.push_back(std::move(next->claim));
  }
  EXPECT_EQ(taken.size(), 3u);
  EXPECT_EQ(queue.done(), 1);
  queue.give_back(plan_.trials[0]);
  others.clear();
  EXPECT_TRUE(queue.next(later)) << "what was given back is seen at once";
}

TEST_F(LedgerTest, StatusOfTenThousandTrialsFromFilesAloneTakesLessThanASecond) {
  const auto plan = test::dummy_plan(folder_ / "many", 10'000);
  save_plan(plan, folder_.path());
  const char* const texts[] = {"done", "failed"};
  for (std::size_t i = 0; i < 6000; ++i)
    write(
        plan.store / plan.trials[i].id / "sweep" / "state.json",
        fmt::format("{{\"state\":\"{}\",\"attempts\":1,\"idle_attempts\":0,\"step\":32,\"exit_code\":0,\"reason\":\"\","
                    "\"seconds\":1.5}}",
                    texts[i % 10 == 0]));
  const auto start = std::chrono::steady_clock::now();
  const auto text = status_text(load_plan(folder_.path()), Ledger(plan.store), /*json=*/true);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(text, "{\"done\":5400,\"failed\":600,\"running\":0,\"trials\":10000,\"waiting\":4000}\n");
  EXPECT_LT(seconds.count(), 1.0);
  test::report("R16", "status of 10,000 trials from files alone (ms; 1000 allowed)",
               static_cast<std::int64_t>(1e3 * seconds.count()));
}

// Nobody has to be alive: what a killed worker held is waiting again. The mutant believes that a lease is held because
// it is there.
TEST_F(LedgerTest, TheTrialOfAKilledWorkerIsNotCalledRunning) {
  const auto& trial = plan_.trials[0];
  const pid_t worker = fork();
  if (worker == 0) {
    const auto claim = ledger_.claim(trial);
    raise(claim ? SIGKILL : SIGTERM);
  }
  int status = 0;
  waitpid(worker, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_EQ(ledger_.read(trial.id).state, TrialState::waiting);
  const bool caught = std::filesystem::exists(state(0).parent_path() / "lease");
  EXPECT_TRUE(caught);
  test::report_mutants("R16", "a status that believes every lease", caught, 1);
  EXPECT_TRUE(ledger_.claim(trial));
}

TEST_F(LedgerTest, OnlyCrashesAreOpenedAgainByResume) {
  for (const auto& [i, code] : {std::pair(0, 137), std::pair(1, 2), std::pair(2, 3), std::pair(3, 1)}) {
    auto claim = ledger_.claim(plan_.trials[i]);
    ASSERT_TRUE(claim);
    claim->write(after_attempt(claim->entry(), {code, 1.0}, false, -1, [] { return std::string(); }));
  }
  EXPECT_EQ(count_trials(plan_, ledger_).failed, 4);
  EXPECT_EQ(reopen_failed(plan_, ledger_, RetryFailed::none), 0);
  EXPECT_EQ(reopen_failed(plan_, ledger_, RetryFailed::crashed), 2);
  EXPECT_EQ(ledger_.read(plan_.trials[0].id).state, TrialState::waiting);
  EXPECT_EQ(ledger_.read(plan_.trials[1].id).state, TrialState::failed);
  EXPECT_EQ(reopen_failed(plan_, ledger_, RetryFailed::all), 2);
  EXPECT_EQ(count_trials(plan_, ledger_).waiting, 4);
}

}  // namespace
}  // namespace spankey::ledger_test
