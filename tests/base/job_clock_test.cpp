#include "base/job_clock.h"

#include <gtest/gtest.h>

#include <cmath>
#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace spankey::job_clock_test {
namespace {

TEST(JobClock, ReadsWhatSqueuePrints) {
  EXPECT_EQ(parse_time_left("0:07\n"), 7);
  EXPECT_EQ(parse_time_left("59:59"), 3599);
  EXPECT_EQ(parse_time_left("1:02:03\n"), 3723);
  EXPECT_EQ(parse_time_left("2-00:00:01"), 172801);
  for (const char* none : {"", "\n", "UNLIMITED\n", "NOT_SET", "INVALID", "12", "-1:00", "1:2:3:4", "1:", ":1", "1:-2"})
    EXPECT_EQ(parse_time_left(none), std::nullopt) << none;
}

JobClock clock_with(const std::map<std::string, std::string>& variables, const std::string& squeue) {
  return {[variables](const char* name) {
            const auto found = variables.find(name);
            return found == variables.end() ? nullptr : found->second.c_str();
          },
          [squeue](const std::string& id) { return id == "17" ? squeue : ""; }};
}

TEST(JobClock, OutsideOfSlurmTimeNeverEnds) {
  EXPECT_TRUE(std::isinf(clock_with({}, "1:00").seconds_left()));
}

TEST(JobClock, BelievesTheEnvironmentThenSqueue) {
  const auto in_a_minute = std::to_string(std::time(nullptr) + 60);
  EXPECT_NEAR(clock_with({{"SLURM_JOB_ID", "17"}, {"SLURM_JOB_END_TIME", in_a_minute}}, "9:00").seconds_left(), 60, 3);
  EXPECT_NEAR(clock_with({{"SLURM_JOB_ID", "17"}}, "9:00\n").seconds_left(), 540, 3);
  EXPECT_TRUE(std::isinf(clock_with({{"SLURM_JOB_ID", "17"}}, "UNLIMITED\n").seconds_left()));
}

TEST(JobClock, ARaisedLimitIsSeen) {
  std::string answer = "0:10\n";
  JobClock clock([](const char* name) { return std::string_view(name) == "SLURM_JOB_ID" ? "17" : nullptr; },
                 [&](const std::string&) { return answer; });
  EXPECT_NEAR(clock.seconds_left(), 10, 3);
  answer = "1:00:00\n";
  clock.update();
  EXPECT_NEAR(clock.seconds_left(), 3600, 3);
}

// In a shell or terminal that has outlived its job.
TEST(JobClock, AnEndThatHasPassedIsNotBelieved) {
  const auto an_hour_ago = std::to_string(std::time(nullptr) - 3600);
  for (const auto& end : {std::string("0"), std::string("1"), an_hour_ago}) {
    EXPECT_TRUE(std::isinf(clock_with({{"SLURM_JOB_END_TIME", end}}, "").seconds_left())) << end;
    EXPECT_TRUE(std::isinf(clock_with({{"SLURM_JOB_ID", "18"}, {"SLURM_JOB_END_TIME", end}}, "").seconds_left()));
    EXPECT_NEAR(clock_with({{"SLURM_JOB_ID", "17"}, {"SLURM_JOB_END_TIME", end}}, "9:00").seconds_left(), 540, 3);
  }
}

TEST(JobClock, NumbersBeyondAllTimeNeverEnd) {
  for (const char* end : {"18446744073709551615", "99999999999999999999999999", "4294967296000"})
    EXPECT_TRUE(std::isinf(clock_with({{"SLURM_JOB_END_TIME", end}}, "").seconds_left())) << end;
}

TEST(JobClock, SqueueKnowsBetter) {
  const auto soon = std::to_string(std::time(nullptr) + 10);
  std::optional<std::string> answer;
  JobClock clock([&](const char* name) { return std::string_view(name) == "SLURM_JOB_ID" ? "17" : soon.c_str(); },
                 [&](const std::string&) { return answer; });
  clock.update();  // cannot be asked
  EXPECT_NEAR(clock.seconds_left(), 10, 3);
  answer = "UNLIMITED\n";
  clock.update();
  EXPECT_TRUE(std::isinf(clock.seconds_left()));
  answer = "0:05";
  clock.update();
  EXPECT_NEAR(clock.seconds_left(), 5, 3);
  answer = "";  // no such job any more
  clock.update();
  EXPECT_TRUE(std::isinf(clock.seconds_left()));
}

TEST(JobClock, NothingButANumberReachesTheShell) {
  bool asked = false;
  const JobClock clock([](const char* name) { return std::string_view(name) == "SLURM_JOB_ID" ? "1; x" : nullptr; },
                       [&](const std::string&) {
                         asked = true;
                         return std::string();
                       });
  EXPECT_FALSE(asked);
}

}  // namespace
}  // namespace spankey::job_clock_test
