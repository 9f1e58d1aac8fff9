// How jobs end when nobody hurts them from outside: well, late, by an exception, a crash or a request.
#include <gmock/gmock.h>

#include <filesystem>

#include "faults/budget.h"
#include "job.h"

namespace spankey::test::job_end_test {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

class JobEnd : public Job {
 protected:
  static void SetUpTestSuite() { ends_ = 0; }
  static void TearDownTestSuite() { report("R7", "late, throwing and crashing ranks that ended all", ends_, 6); }

  // A rank of the job goes wrong; all end, whatever the others were waiting for.
  Outcome expect_end(const std::string& way, const std::string& timeout, const std::string& words) {
    const auto outcome = run(command(way, timeout), folder_.path(), seconds(20));
    EXPECT_NE(outcome.exit_code, 0) << outcome.err;
    EXPECT_FALSE(outcome.timed_out);
    EXPECT_THAT(outcome.err, HasSubstr(words));
    ends_ += outcome.exit_code != 0 && !outcome.timed_out;
    return outcome;
  }

  // Without a watchdog's help: 5 s are more than the product takes for any of these.
  bool hangs(const std::string& way) { return run(command(way, "1000"), folder_.path(), seconds(5)).timed_out; }

  static int ends_;
};

int JobEnd::ends_ = 0;

TEST_F(JobEnd, Well) {
  const auto outcome = run(command("end", "30"), folder_.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("3 ranks ended well"));
}

TEST_F(JobEnd, WithoutALauncherTheProcessIsAlone) {
  const auto outcome = run({SPANKEY_JOB_HELPER, "end", "30"}, folder_.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("1 ranks ended well"));
}

TEST_F(JobEnd, ALateRankIsNamedThoughItIsAlive) {
  EXPECT_EQ(expect_end("late", "1", "late").exit_code, 3);  // the late rank sleeps for 60 s
  for (int rank = 0; rank < ranks; ++rank)
    EXPECT_THAT(log_of(rank), HasSubstr("1 of 3 ranks late: rank 2 (at epoch 4, step 20, at work)")) << rank;
}

TEST_F(JobEnd, ASaveHasNoDeadline) {
  const auto outcome = run(command("save", "1"), folder_.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST_F(JobEnd, EvenTheEndOfMpiHasADeadline) {
  EXPECT_EQ(expect_end("end late", "0.5", "end of MPI has taken").exit_code, 3);
}

TEST_F(JobEnd, ARankThatThrowsEndsAllAndNamesItself) {
  EXPECT_EQ(expect_end("throw", "30", "rank 2 cannot go on").exit_code, 3);
  for (const int rank : {0, 1}) EXPECT_THAT(log_of(rank), HasSubstr("rank 2 has ended the run with exit code 3"));
}

TEST_F(JobEnd, ADyingRankDoesNotFinalize) {
  EXPECT_EQ(expect_end("unwind", "30", "rank 2 unwinds").exit_code, 3);
}

TEST_F(JobEnd, ACrashIsNamedByTheOthers) {
  expect_end("crash", "30", "rank 2 is gone");
  for (const int rank : {0, 1}) EXPECT_THAT(log_of(rank), HasSubstr("rank 2 is gone"));
}

TEST_F(JobEnd, AbortGivesItsCodeToTheLauncher) {
  EXPECT_EQ(expect_end("requeue", "30", "").exit_code, 75);
}

// The mutants: a rank that is late where lateness has no deadline; one that goes away after an error without a word.
TEST_F(JobEnd, WithoutDeadlinesOrWithSilentErrorsTheOthersWait) {
  const int caught = hangs("late") + hangs("keep silent");
  report_mutants("R7", "no deadline of a step, an error that is kept to itself", caught, 2);
  EXPECT_EQ(caught, 2);
}

// A signal to one rank: all leave at one step. The mutant decides for itself, and leaves the others in a collective.
TEST_F(JobEnd, RanksLeaveTogetherOrNotAtAll) {
  const auto code_after_signal = [&](const std::string& way) {
    pids_.clear();
    for (int rank = 0; rank < ranks; ++rank)
      std::filesystem::remove(folder_ / ("rank" + std::to_string(rank) + ".pid"));
    auto& child = start_training("2", way);
    kill(pids_[1], SIGUSR2);
    return child.wait(seconds(60)).exit_code;
  };
  EXPECT_EQ(code_after_signal("leave together"), 75);
  const bool caught = code_after_signal("leave alone") != 75;
  EXPECT_TRUE(caught);
  report_mutants("R8", "a rank that decides to stop alone", caught, 1);
}

}  // namespace
}  // namespace spankey::test::job_end_test
