#include "train/lease.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "base/file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::lease_test {
namespace {

void make_old(const std::filesystem::path& path, int seconds) {
  timespec times[2] = {};
  clock_gettime(CLOCK_REALTIME, &times[0]);
  times[0].tv_sec -= seconds;
  times[1] = times[0];
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

TEST(Lease, ASecondLiveRunIsRefusedAndTheFileGoesWithTheFirst) {
  const test::TemporaryFolder folder;
  {
    const Lease lease(folder.path());
    EXPECT_TRUE(lease.still_ours());
    EXPECT_ERROR(Lease(folder.path()), ExitCode::bad_input,
                 testing::AllOf(testing::HasSubstr(folder.path().string()), testing::HasSubstr("in use"),
                                testing::HasSubstr(std::to_string(getpid()))));
    EXPECT_TRUE(lease.still_ours());
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "lease"));
  EXPECT_NO_THROW(Lease(folder.path()));
}

TEST(Lease, OfADeadProcessOfThisHostIsTakenOverAtOnce) {
  const test::TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    auto* lease = new Lease(folder.path());  // never released: the process dies holding it
    _exit(lease->still_ours() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  ASSERT_TRUE(std::filesystem::exists(folder / "lease"));
  const Lease lease(folder.path());
  EXPECT_TRUE(lease.still_ours());
}

// The pid alone is not enough: it may belong to another process by now.
TEST(Lease, OfAReusedPidIsTakenOver) {
  const test::TemporaryFolder folder;
  nlohmann::json owner;
  {
    const Lease lease(folder.path());
    owner = nlohmann::json::parse(read_text(folder / "lease"));
  }
  owner["start_time"] = "1";
  std::ofstream(folder / "lease") << owner.dump();
  EXPECT_TRUE(Lease(folder.path()).still_ours());
}

TEST(Lease, OfAnotherHostHoldsUntilItExpires) {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "lease") << R"({"host":"elsewhere","boot_id":"x","pid":1,"start_time":"1"})";
  EXPECT_ERROR(Lease(folder.path()), ExitCode::bad_input, testing::HasSubstr("elsewhere"));
  make_old(folder / "lease", 20);
  EXPECT_THROW(Lease(folder.path()), Error);
  make_old(folder / "lease", 40);
  EXPECT_TRUE(Lease(folder.path()).still_ours());
}

// Containers on a machine may share its host name; their process numbers mean nothing to one another.
TEST(Lease, OfAnotherNameSpaceOfProcessesHoldsUntilItExpires) {
  const test::TemporaryFolder folder;
  nlohmann::json owner;
  {
    const Lease lease(folder.path());
    owner = nlohmann::json::parse(read_text(folder / "lease"));
  }
  owner["pid"] = 1 << 30;  // there is no such process
  std::ofstream(folder / "lease") << owner.dump();
  EXPECT_TRUE(Lease(folder.path()).still_ours());
  owner["pid_namespace"] = "pid:[1]";
  std::ofstream(folder / "lease") << owner.dump();
  EXPECT_ERROR(Lease(folder.path(), std::chrono::milliseconds(10)), ExitCode::bad_input, testing::HasSubstr("in use"));
}

// Fields of the wrong type say nothing about the owner: the lease holds until it is too old, like any other.
TEST(Lease, WithFieldsOfAnotherTypeHoldsUntilItExpires) {
  const test::TemporaryFolder folder;
  nlohmann::json whole;
  {
    const Lease lease(folder.path());
    whole = nlohmann::json::parse(read_text(folder / "lease"));
  }
  for (const char* field : {"host", "boot_id", "pid_namespace", "pid", "start_time"}) {
    auto damaged = whole;
    damaged[field] = nlohmann::json::array({1});
    std::ofstream(folder / "lease") << damaged.dump();
    EXPECT_ERROR(Lease(folder.path(), std::chrono::milliseconds(10)), ExitCode::bad_input,
                 testing::HasSubstr("in use"));
    EXPECT_TRUE(Lease::held(folder.path())) << field;
    make_old(folder / "lease", 40);
    EXPECT_TRUE(Lease(folder.path()).still_ours()) << field;
  }
}

TEST(Lease, IgnoresAnAttemptThatNoRunCanHaveReached) {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "attempt") << "9223372036854775807";
  const Lease lease(folder.path());
  EXPECT_EQ(nlohmann::json::parse(read_text(folder / "lease"))["attempt"], 1);
}

TEST(Lease, KnowsWhenItHasBeenTaken) {
  const test::TemporaryFolder folder;
  const Lease lease(folder.path());
  std::ofstream(folder / "lease") << "somebody else";
  EXPECT_FALSE(lease.still_ours());
}

}  // namespace
}  // namespace spankey::lease_test
