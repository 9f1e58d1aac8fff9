// Jobs whose ranks or launcher are killed or stopped from outside: all end in time, the lost one is named, nobody is
// left behind.
#include <gmock/gmock.h>

#include <algorithm>
#include <utility>

#include "faults/budget.h"
#include "job.h"

namespace spankey::test::job_fault_test {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::AllOf;
using testing::HasSubstr;

struct Figures {
  int kills = 0, stops = 0, orphans = 0;
  steady_clock::duration slowest{0};  // from the fault to the end of the ranks and of the launcher
};

class JobFault : public Job {
 protected:
  static void SetUpTestSuite() { figures_ = {}; }
  static void TearDownTestSuite() {
    report("R7", "kills of a rank or of the launcher", figures_.kills, 3);
    report("R7", "stops of a rank (SIGSTOP)", figures_.stops, 2);
    report("R7", "orphans", figures_.orphans);
    report("R7", "from such a fault to the end of all ranks, slowest (ms; timeout 3000)",
           std::chrono::duration_cast<std::chrono::milliseconds>(figures_.slowest).count());
  }

  // All must be gone in time.
  Outcome expect_all_gone(Child& child, steady_clock::time_point since) {
    EXPECT_TRUE(all_gone_within(seconds(timeout_seconds + margin_seconds))) << left_over() << " ranks are left";
    auto outcome = child.wait(seconds(10));
    figures_.slowest = std::max(figures_.slowest, steady_clock::now() - since);
    figures_.orphans += left_over();
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_FALSE(outcome.timed_out);
    return outcome;
  }

  // Hurts one rank: the others must name it and end.
  void expect_all_end(int victim, int signal, const std::string& words) {
    auto& child = start_training();
    const auto start = steady_clock::now();
    kill(pids_[static_cast<std::size_t>(victim)], signal);
    (signal == SIGSTOP ? figures_.stops : figures_.kills) += 1;
    expect_all_gone(child, start);
    const auto named = "rank " + std::to_string(victim) + words;
    for (int rank = 0; rank < ranks; ++rank)
      if (rank != victim) {
        EXPECT_THAT(log_of(rank), AllOf(HasSubstr(named), HasSubstr("last heard of at epoch 4, step "))) << rank;
      }
  }

  static Figures figures_;
};

Figures JobFault::figures_;

TEST_F(JobFault, AKilledRankEndsAllAndIsNamed) {
  expect_all_end(/*victim=*/2, SIGKILL, " is gone");
}

TEST_F(JobFault, SoDoesAKilledRank0) {
  expect_all_end(/*victim=*/0, SIGKILL, " is gone");
}

TEST_F(JobFault, AStoppedRankEndsAllAndIsNamed) {
  expect_all_end(/*victim=*/1, SIGSTOP, " has given no sign of life");
}

TEST_F(JobFault, SoDoesAStoppedRank0) {
  expect_all_end(/*victim=*/0, SIGSTOP, " has given no sign of life");
}

TEST_F(JobFault, NobodyOutlivesTheLauncher) {
  auto& child = start_training();
  const auto start = steady_clock::now();
  child.signal(SIGKILL);
  ++figures_.kills;
  expect_all_gone(child, start);
}

// The mutant: MPI alone, with a watchdog that waits for ever, does not notice.
TEST_F(JobFault, WithoutTheWatchdogAStoppedRankHangsTheJob) {
  auto& child = start_training("1000");
  kill(pids_[1], SIGSTOP);
  const bool caught = !all_gone_within(seconds(timeout_seconds + margin_seconds)) && child.running();
  EXPECT_TRUE(caught);
  report_mutants("R7", "no heartbeat beside MPI", caught, 1);
  child.kill_tree();
}

// Suspended as a whole, as a scheduler does with a gang: that is no loss.
TEST_F(JobFault, AJobThatWasSuspendedGoesOn) {
  auto& child = start_training();
  for (const pid_t pid : pids_) kill(pid, SIGSTOP);
  std::this_thread::sleep_for(seconds(timeout_seconds + 1));
  for (const pid_t pid : pids_) kill(pid, SIGCONT);
  std::this_thread::sleep_for(seconds(2));
  EXPECT_EQ(left_over(), ranks);
  child.kill_tree();
}

}  // namespace
}  // namespace spankey::test::job_fault_test
