// A run that is asked to stop commits a checkpoint, exits with 75 and goes on later as if nothing had happened.
#include <gmock/gmock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "faults/budget.h"
#include "small_run.h"

namespace spankey::test::stop_test {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

class Stop : public SmallRun {
 protected:
  // Starts a run and waits until it trains.
  Child& start(const std::vector<std::string>& command, const std::string& run) {
    child_ = std::make_unique<Child>(command, folder.path());
    wait_for_step(*child_, run, 1);
    return *child_;
  }

  std::vector<std::string> launch_train(const std::string& run, std::vector<std::string> more) const {
    // A shell cannot trap a signal that was ignored when it began, as INT is where this test runs in the background.
    std::vector<std::string> command{"env",
                                     "--default-signal=INT,HUP",
                                     "SPANKEY=" + program(),
                                     source("launch/train"),
                                     "2",
                                     "small.toml",
                                     "--run-dir",
                                     run};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }

  std::unique_ptr<Child> child_;
};

const std::vector<std::string> long_run{"train.epochs=1000"}, longer_run{"train.epochs=20", "eval.every_epochs=0"};
constexpr int steps_of_longer_run = 20 * steps / 8;

TEST_F(Stop, ASignalToAnySingleRankStopsAll) {
  const std::pair<std::size_t, int> cases[] = {{0, SIGTERM}, {1, SIGUSR2}, {1, SIGINT}};
  int stopped = 0;
  for (const auto& [rank, signal] : cases) {
    const auto run = "signal-" + std::to_string(signal);
    auto& child = start(train(2, run, long_run), run);
    const auto pids = ranks_of(child);
    ASSERT_EQ(pids.size(), 2U);
    kill(pids[rank], signal);
    const auto outcome = child.wait();
    EXPECT_EQ(outcome.exit_code, 75) << "signal " << signal << " to rank " << rank << outcome.out << outcome.err;
    stopped += outcome.exit_code == 75;
  }
  report("R8", "signals to a single rank that stopped all with a checkpoint", stopped, std::size(cases));
}

TEST_F(Stop, MoreSignalsDuringTheSaveDoNotSpoilIt) {
  expect_success(train(2, "undisturbed", longer_run));
  auto& child = start(train(2, "stopped", longer_run), "stopped");
  const auto pids = ranks_of(child);
  int signals = 0;
  for (; child.running(); ++signals) {
    for (const pid_t pid : pids) kill(pid, signals % 2 == 0 ? SIGUSR2 : SIGTERM);
    std::this_thread::sleep_for(milliseconds(1));
  }
  const auto outcome = child.wait();
  ASSERT_EQ(outcome.exit_code, 75) << outcome.out << outcome.err;
  EXPECT_GT(signals, 1);
  expect_success(train(2, "stopped", longer_run));
  EXPECT_EQ(tensors("stopped"), tensors("undisturbed"));
  EXPECT_EQ(metrics("stopped"), metrics("undisturbed"));
  report("R8", "signals during one save, without harm", HasFailure() ? 0 : signals);
}

TEST_F(Stop, ContIsIgnored) {
  auto& child = start(train(2, "run", longer_run), "run");
  int signals = 0;
  for (; child.running(); ++signals) {
    for (const pid_t pid : ranks_of(child)) kill(pid, SIGCONT);
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_EQ(child.wait().exit_code, 0);
  EXPECT_GT(signals, 1);
}

// Until every thread of the process is stopped.
void stop_here(pid_t pid) {
  kill(pid, SIGSTOP);
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task"))
    for (char state = 'R'; state != 'T' && state != 'Z' && state != 0;) state = state_of(thread.path());
}

// How many steps a run commits after a stop was asked for, by `ask`, while all of its ranks stood still.
class StepsAfter : public Stop {
 protected:
  int count(const std::string& run, const std::function<void(const std::vector<pid_t>&)>& ask) {
    auto& child =
        start(train(2, run, {"train.epochs=1000", "checkpoint.every_steps=1", "checkpoint.async=false"}), run);
    const auto pids = ranks_of(child);
    for (const pid_t pid : pids) stop_here(pid);
    const int before = newest_step(run);
    ask(pids);
    for (const pid_t pid : pids) kill(pid, SIGCONT);
    const auto outcome = child.wait();
    EXPECT_EQ(outcome.exit_code, 75) << outcome.out << outcome.err;
    return newest_step(run) - before;
  }
};

// The step, and the save after it, that rank 0 was in; where the other one is asked, the next step may have begun
// without its word; and the step in which all agree. The mutant: a stop by the marker file alone, which is looked for
// twice a second only.
TEST_F(StepsAfter, AStopTakesAStepAndASave) {
  constexpr int rounds = 2;
  int in_time = 0;
  for (int round = 0; round < rounds; ++round)
    for (const std::size_t rank : {0, 1}) {
      const auto run = "rank-" + std::to_string(rank) + "-" + std::to_string(round);
      const int count_of_steps = count(run, [rank](const std::vector<pid_t>& pids) {
        // To the thread that takes the steps: another one might be late to handle it.
        syscall(SYS_tgkill, pids.at(rank), pids.at(rank), SIGUSR2);
      });
      const int most = rank == 0 ? 2 : 3;
      EXPECT_LE(count_of_steps, most) << "rank " << rank;
      in_time += count_of_steps <= most;
    }
  report("R8", "stops within the step under way and one more", in_time, 2 * rounds);

  bool caught = false;
  for (int round = 0; round < 5 && !caught; ++round) {
    const auto run = "marker-" + std::to_string(round);
    caught = count(run, [&](const std::vector<pid_t>&) { std::ofstream(folder / (run + "/STOP")).flush(); }) > 3;
  }
  EXPECT_TRUE(caught);
  report_mutants("R8", "a stop that is looked for now and then", caught, 1);
}

// The program in launch/ asks the ranks to stop; started again, the run ends as if nothing had happened. The mutant:
// mpirun alone kills them within seconds.
TEST_F(Stop, IntAndTermToLaunchTrainCommitACheckpoint) {
  expect_success(train(2, "undisturbed", longer_run));
  int stopped = 0;
  for (const int signal : {SIGTERM, SIGINT}) {
    const auto run = "stopped-" + std::to_string(signal);
    auto& child = start(launch_train(run, longer_run), run);
    child.signal(signal);
    const auto outcome = child.wait();
    EXPECT_EQ(outcome.exit_code, 75) << outcome.out << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(folder / (run + "/lease")));
    const int step = newest_step(run);
    EXPECT_LT(step, steps_of_longer_run);
    const auto again = test::run(launch_train(run, longer_run), folder.path());
    EXPECT_EQ(again.exit_code, 0) << again.err;
    EXPECT_THAT(again.out + again.err, HasSubstr("resuming from " + run + "/checkpoints/"));
    const bool same = tensors(run) == tensors("undisturbed") && metrics(run) == metrics("undisturbed");
    EXPECT_TRUE(same) << "stopped at step " << step;
    stopped += outcome.exit_code == 75 && same;
  }
  report("R8", "INT and TERM to launch/train, stopped with a checkpoint and gone on with", stopped, 2);

  for (const int signal : {SIGHUP, SIGUSR1, SIGUSR2}) {
    const auto run = "asked-" + std::to_string(signal);
    auto& child = start(launch_train(run, long_run), run);
    child.signal(signal);
    EXPECT_EQ(child.wait().exit_code, 75) << "signal " << signal;
    EXPECT_GE(newest_step(run), 1) << "signal " << signal;
  }

  auto& alone = start(train(2, "killed", long_run), "killed");
  alone.signal(SIGTERM);
  const bool caught = alone.wait().exit_code != 75;
  EXPECT_TRUE(caught);
  report_mutants("R8", "mpirun without launch/train", caught, 1);
}

}  // namespace
}  // namespace spankey::test::stop_test
