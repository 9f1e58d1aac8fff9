// How jobs end, with real processes: exit codes, who is named, that nobody waits for ever and nobody is left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/program.h"
#include "support/temporary_folder.h"

namespace spankey::test {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::AllOf;
using testing::HasSubstr;

constexpr int timeout_seconds = 3;  // of the watchdog
constexpr int margin_seconds = 4;   // for the launcher and a busy machine
constexpr int ranks = 3;

class JobEnd : public testing::Test {
 protected:
  std::vector<std::string> job(const std::string& way, const std::string& timeout, int size = ranks) const {
    return {SPANKEY_MPIEXEC, "-n", std::to_string(size), "--oversubscribe", SPANKEY_JOB_HELPER, way, timeout};
  }

  // A job in the middle of its steps, its ranks known by `pids`.
  Child& start_training(const std::string& timeout = std::to_string(timeout_seconds)) {
    child_ = std::make_unique<Child>(job("train", timeout), folder_.path());
    for (int rank = 0; rank < ranks; ++rank) {
      const auto path = folder_ / ("rank" + std::to_string(rank) + ".pid");
      pid_t pid = 0;
      for (int i = 0; i < 3000 && pid == 0; ++i) {
        std::ifstream(path) >> pid;
        if (pid == 0) std::this_thread::sleep_for(milliseconds(10));
      }
      if (pid == 0) throw std::runtime_error("the job does not start");
      pids_.push_back(pid);
    }
    return *child_;
  }

  // The ranks that still exist.
  int left_over() const {
    int count = 0;
    for (const pid_t pid : pids_) {
      std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
      std::string line;
      std::getline(file, line);
      const auto name_end = line.rfind(')');
      if (name_end != std::string::npos && line[name_end + 2] != 'Z') ++count;
    }
    return count;
  }

  bool all_gone_within(seconds limit) const {
    const auto deadline = steady_clock::now() + limit;
    while (left_over() > 0 && steady_clock::now() < deadline) std::this_thread::sleep_for(milliseconds(20));
    return left_over() == 0;
  }

  std::string log_of(int rank) const {
    std::ifstream file(folder_ / ("rank" + std::to_string(rank) + ".log"));
    return {std::istreambuf_iterator<char>(file), {}};
  }

  // Hurts one rank; all must be gone in time and the others must have named it.
  void expect_all_end(int victim, int signal, const std::string& words) {
    auto& child = start_training();
    const auto start = steady_clock::now();
    kill(pids_[static_cast<std::size_t>(victim)], signal);
    EXPECT_TRUE(all_gone_within(seconds(timeout_seconds + margin_seconds))) << left_over() << " ranks are left";
    const auto outcome = child.wait(seconds(10));
    std::printf("all ranks gone after %.1f s, %d left over\n", duration<double>(steady_clock::now() - start).count(),
                left_over());
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_FALSE(outcome.timed_out);
    const auto named = "rank " + std::to_string(victim) + words;
    for (int rank = 0; rank < ranks; ++rank)
      if (rank != victim) {
        EXPECT_THAT(log_of(rank), AllOf(HasSubstr(named), HasSubstr("last heard of at epoch 4, step "))) << rank;
      }
  }

  TemporaryFolder folder_;
  std::vector<pid_t> pids_;
  std::unique_ptr<Child> child_;
};

TEST_F(JobEnd, Well) {
  const auto outcome = run(job("end", "30"), folder_.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("3 ranks ended well"));
}

TEST_F(JobEnd, WithoutALauncherTheProcessIsAlone) {
  const auto outcome = run({SPANKEY_JOB_HELPER, "end", "30"}, folder_.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("1 ranks ended well"));
}

TEST_F(JobEnd, AKilledRankEndsAllAndIsNamed) {
  expect_all_end(/*victim=*/2, SIGKILL, " is gone");
}

TEST_F(JobEnd, SoDoesAKilledRank0) {
  expect_all_end(/*victim=*/0, SIGKILL, " is gone");
}

TEST_F(JobEnd, AStoppedRankEndsAllAndIsNamed) {
  expect_all_end(/*victim=*/1, SIGSTOP, " has given no sign of life");
}

TEST_F(JobEnd, SoDoesAStoppedRank0) {
  expect_all_end(/*victim=*/0, SIGSTOP, " has given no sign of life");
}

// The negative control: MPI alone does not notice.
TEST_F(JobEnd, WithoutTheWatchdogAStoppedRankHangsTheJob) {
  auto& child = start_training("1000");
  kill(pids_[1], SIGSTOP);
  EXPECT_FALSE(all_gone_within(seconds(timeout_seconds + margin_seconds)));
  EXPECT_TRUE(child.running());
  child.kill_tree();
}

TEST_F(JobEnd, NobodyOutlivesTheLauncher) {
  auto& child = start_training();
  child.signal(SIGKILL);
  EXPECT_TRUE(all_gone_within(seconds(timeout_seconds + margin_seconds))) << left_over() << " orphans";
  child.wait();
  std::printf("%d orphans\n", left_over());
}

// Suspended as a whole, as a scheduler does with a gang: that is no loss.
TEST_F(JobEnd, AJobThatWasSuspendedGoesOn) {
  auto& child = start_training();
  for (const pid_t pid : pids_) kill(pid, SIGSTOP);
  std::this_thread::sleep_for(seconds(timeout_seconds + 1));
  for (const pid_t pid : pids_) kill(pid, SIGCONT);
  std::this_thread::sleep_for(seconds(2));
  EXPECT_EQ(left_over(), ranks);
  child.kill_tree();
}

TEST_F(JobEnd, ALateRankIsNamedThoughItIsAlive) {
  const auto start = steady_clock::now();
  const auto outcome = run(job("late", "1"), folder_.path());
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_LT(duration<double>(steady_clock::now() - start).count(), 20);  // the late rank sleeps for 60
  for (int rank = 0; rank < ranks; ++rank)
    EXPECT_THAT(log_of(rank), HasSubstr("1 of 3 ranks late: rank 2 (at epoch 4, step 20, at work)")) << rank;
}

TEST_F(JobEnd, ASaveHasNoDeadline) {
  const auto outcome = run(job("save", "1"), folder_.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST_F(JobEnd, EvenTheEndOfMpiHasADeadline) {
  const auto outcome = run(job("end late", "0.5"), folder_.path());
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("end of MPI has taken"));
}

TEST_F(JobEnd, ARankThatThrowsEndsAllAndNamesItself) {
  const auto outcome = run(job("throw", "30"), folder_.path(), seconds(20));
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("rank 2 cannot go on"));
  for (const int rank : {0, 1}) EXPECT_THAT(log_of(rank), HasSubstr("rank 2 has ended the run with exit code 3"));
}

TEST_F(JobEnd, ADyingRankDoesNotFinalize) {
  const auto outcome = run(job("unwind", "30"), folder_.path(), seconds(20));
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("rank 2 unwinds"));
}

TEST_F(JobEnd, ACrashIsNamedByTheOthers) {
  const auto outcome = run(job("crash", "30"), folder_.path(), seconds(20));
  EXPECT_NE(outcome.exit_code, 0) << outcome.err;
  for (const int rank : {0, 1}) EXPECT_THAT(log_of(rank), HasSubstr("rank 2 is gone"));
}

TEST_F(JobEnd, AbortGivesItsCodeToTheLauncher) {
  EXPECT_EQ(run(job("requeue", "30"), folder_.path()).exit_code, 75);
}

}  // namespace
}  // namespace spankey::test
