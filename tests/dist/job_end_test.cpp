// How jobs end, with real processes: exit codes, who is named, and that nobody waits for ever.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>
#include <vector>

namespace {

using testing::AllOf;
using testing::HasSubstr;

struct Ended {
  int code = -1;
  std::string output;  // of all ranks, stdout and stderr
  double seconds = 0;
};

Ended run(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::array<int, 2> pipe_ends{};
  EXPECT_EQ(pipe2(pipe_ends.data(), O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDERR_FILENO);
  const auto start = std::chrono::steady_clock::now();
  pid_t child = 0;
  EXPECT_EQ(posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_ends[1]);
  Ended ended;
  std::array<char, 4096> buffer;
  for (ssize_t count; (count = read(pipe_ends[0], buffer.data(), buffer.size())) > 0;)
    ended.output.append(buffer.data(), static_cast<std::size_t>(count));
  close(pipe_ends[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ended.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return ended;
}

Ended run_job(const std::string& way, const std::string& timeout_seconds) {
  return run({SPANKEY_MPIEXEC, "-n", "2", "--oversubscribe", SPANKEY_JOB_HELPER, way, timeout_seconds});
}

TEST(JobEnd, Well) {
  const auto job = run_job("end", "30");
  EXPECT_EQ(job.code, 0) << job.output;
  EXPECT_THAT(job.output, HasSubstr("2 ranks ended well"));
}

TEST(JobEnd, WithoutALauncherTheProcessIsAlone) {
  const auto job = run({SPANKEY_JOB_HELPER, "end", "30"});
  EXPECT_EQ(job.code, 0) << job.output;
  EXPECT_THAT(job.output, HasSubstr("1 ranks ended well"));
}

TEST(JobEnd, TheWatchdogNamesRankCollectiveAndPlace) {
  const auto job = run_job("sleep", "1");
  EXPECT_EQ(job.code, 3) << job.output;
  EXPECT_LT(job.seconds, 20);  // the other rank sleeps for 60
  EXPECT_THAT(job.output, AllOf(HasSubstr("rank 0: all_reduce of 20 bytes"), HasSubstr("dist.timeout_seconds = 1"),
                                HasSubstr("mpi_communicator.cpp:"), HasSubstr("epoch 4, step 17")));
}

TEST(JobEnd, AStoppedRankIsNotWaitedFor) {
  const auto job = run_job("stop", "1");
  EXPECT_EQ(job.code, 3) << job.output;
  EXPECT_LT(job.seconds, 20);
  EXPECT_THAT(job.output, HasSubstr("rank 0: all_reduce"));
}

TEST(JobEnd, EvenTheEndOfMpiHasADeadline) {
  const auto job = run_job("end late", "0.5");
  EXPECT_EQ(job.code, 3) << job.output;
  EXPECT_LT(job.seconds, 30);
  EXPECT_THAT(job.output, HasSubstr("rank 0: end of MPI"));
}

TEST(JobEnd, ARankThatThrowsEndsAllAndNamesItself) {
  const auto job = run_job("throw", "30");
  EXPECT_EQ(job.code, 3) << job.output;
  EXPECT_LT(job.seconds, 20);
  EXPECT_THAT(job.output, HasSubstr("rank 1 cannot go on"));
}

TEST(JobEnd, ADyingRankDoesNotFinalize) {
  const auto job = run_job("unwind", "30");
  EXPECT_EQ(job.code, 3) << job.output;
  EXPECT_LT(job.seconds, 20);
  EXPECT_THAT(job.output, HasSubstr("rank 1 unwinds"));
}

TEST(JobEnd, AbortGivesItsCodeToTheLauncher) {
  EXPECT_EQ(run_job("requeue", "30").code, 75);
}

}  // namespace
