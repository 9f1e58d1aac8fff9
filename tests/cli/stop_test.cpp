// A run that is asked to stop commits a checkpoint, exits with 75 and goes on later as if nothing had happened.
#include <csignal>
#include <fstream>
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

class Stop : public SmallRun {
 protected:
  // Starts a run and waits until it trains.
  Child& start(const std::vector<std::string>& command, const std::string& run) {
    child_ = std::make_unique<Child>(command, folder.path());
    const auto checkpoints = folder / (run + "/checkpoints");
    for (int i = 0; i < 3000 && child_->running() && !has_checkpoint(checkpoints); ++i)
      std::this_thread::sleep_for(milliseconds(5));
    return *child_;
  }

  static bool has_checkpoint(const std::filesystem::path& checkpoints) {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(checkpoints, none))
      if (entry.path().extension() == ".h5") return true;
    return false;
  }

  // The ranks that mpirun has started, in rank order.
  static std::vector<pid_t> ranks(const Child& child) {
    const auto id = std::to_string(child.pid());
    std::ifstream file("/proc/" + id + "/task/" + id + "/children");
    std::vector<pid_t> pids;
    for (pid_t pid = 0; file >> pid;) pids.push_back(pid);
    return pids;
  }

  std::unique_ptr<Child> child_;
};

const std::vector<std::string> long_run{"train.epochs=1000"}, longer_run{"train.epochs=20", "eval.every_epochs=0"};

TEST_F(Stop, ASignalToAnySingleRankStopsAll) {
  const std::pair<std::size_t, int> cases[] = {{0, SIGTERM}, {1, SIGUSR2}, {1, SIGINT}};
  int stopped = 0;
  for (const auto& [rank, signal] : cases) {
    const auto run = "signal-" + std::to_string(signal);
    auto& child = start(train(2, run, long_run), run);
    const auto pids = ranks(child);
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
  const auto pids = ranks(child);
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
    for (const pid_t pid : ranks(child)) kill(pid, SIGCONT);
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_EQ(child.wait().exit_code, 0);
  EXPECT_GT(signals, 1);
}

// The program in launch/ asks the ranks to stop. The mutant: mpirun alone kills them within seconds.
TEST_F(Stop, TermToLaunchTrainCommitsACheckpoint) {
  auto& child = start({"env", "SPANKEY=" + program(), source("launch/train"), "2", "small.toml", "--run-dir", "stopped",
                       "train.epochs=1000"},
                      "stopped");
  child.signal(SIGTERM);
  const auto outcome = child.wait();
  EXPECT_EQ(outcome.exit_code, 75) << outcome.out << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "stopped/lease"));

  auto& alone = start(train(2, "killed", long_run), "killed");
  alone.signal(SIGTERM);
  const bool caught = alone.wait().exit_code != 75;
  EXPECT_TRUE(caught);
  report_mutants("R8", "mpirun without launch/train", caught, 1);
}

}  // namespace
}  // namespace spankey::test::stop_test
