#include "base/lease.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/shutdown.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::lease_test {
namespace {

using std::chrono::milliseconds;

constexpr const char* of_elsewhere = R"({"attempt":3,"host":"elsewhere","boot_id":"x","pid":1,"start_time":"1"})";

void write_lease(const test::TemporaryFolder& folder, const std::string& content) {
  std::ofstream(folder / "lease") << content;
}

// The lease that this process would hold in the folder.
nlohmann::json own_lease(const test::TemporaryFolder& folder) {
  const Lease lease(folder.path());
  return nlohmann::json::parse(read_text(folder / "lease"));
}

// Any time will do, as long as it is another one: `hours` from now by this machine's clock.
void renew(const std::filesystem::path& path, int hours) {
  timespec times[2] = {};
  clock_gettime(CLOCK_REALTIME, &times[0]);
  times[0].tv_sec += 3600 * hours;
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
  auto owner = own_lease(folder);
  owner["start_time"] = "1";
  std::ofstream(folder / "lease") << owner.dump();
  EXPECT_TRUE(Lease(folder.path()).still_ours());
}

// Whatever time the file tells of: an hour ago, an hour from now.
TEST(Lease, OfAnotherHostIsTakenOverWhereItDoesNotChange) {
  for (const int hours : {-1, 0, 1}) {
    const test::TemporaryFolder folder;
    write_lease(folder, of_elsewhere);
    renew(folder / "lease", hours);
    testing::internal::CaptureStderr();
    const auto start = std::chrono::steady_clock::now();
    const Lease lease(folder.path(), milliseconds(0), milliseconds(400));
    EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(400));
    EXPECT_EQ(lease.attempt(), 4);
    const auto said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("waiting up to"), std::string::npos) << said;
    EXPECT_NE(said.find("process 1 on elsewhere"), std::string::npos) << said;
  }
}

TEST(Lease, OfAnotherHostIsRefusedAsSoonAsItChanges) {
  for (const int hours : {-1, 1}) {
    const test::TemporaryFolder folder;
    write_lease(folder, of_elsewhere);
    std::thread owner([&] {
      std::this_thread::sleep_for(milliseconds(300));
      renew(folder / "lease", hours);
    });
    const auto start = std::chrono::steady_clock::now();
    EXPECT_ERROR(Lease(folder.path(), milliseconds(0), std::chrono::seconds(60)), ExitCode::bad_input,
                 testing::HasSubstr("elsewhere"));
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
    owner.join();
    EXPECT_EQ(read_text(folder / "lease"), of_elsewhere);
  }
}

TEST(Lease, AStopEndsTheWait) {
  const test::TemporaryFolder folder;
  write_lease(folder, of_elsewhere);
  shutdown::request();
  EXPECT_ERROR(Lease(folder.path(), milliseconds(0), std::chrono::seconds(60)), ExitCode::requeue,
               testing::HasSubstr("waiting"));
  shutdown::clear();
}

// Without waiting: an observer tells of what it has seen, and remembers it.
TEST(LeaseObserver, RemembersWhatItSaw) {
  const test::TemporaryFolder folder;
  LeaseObserver observer(milliseconds(200));
  EXPECT_FALSE(observer.held(folder.path()));
  write_lease(folder, of_elsewhere);
  EXPECT_TRUE(observer.held(folder.path()));
  EXPECT_ERROR(Lease(folder.path(), observer), ExitCode::bad_input, testing::HasSubstr("in use"));
  std::this_thread::sleep_for(milliseconds(250));
  renew(folder / "lease", 1);
  EXPECT_TRUE(observer.held(folder.path()));  // it lives
  std::this_thread::sleep_for(milliseconds(250));
  EXPECT_FALSE(observer.held(folder.path()));
  EXPECT_TRUE(LeaseObserver(milliseconds(200)).held(folder.path()));  // another one has not watched
  EXPECT_TRUE(Lease(folder.path(), observer).still_ours());
}

// Containers on a machine may share its host name; their process numbers mean nothing to one another.
TEST(Lease, OfAnotherNameSpaceOfProcessesIsWatched) {
  const test::TemporaryFolder folder;
  auto owner = own_lease(folder);
  owner["pid"] = 1 << 30;  // there is no such process
  write_lease(folder, owner.dump());
  EXPECT_FALSE(Lease::held(folder.path()));
  EXPECT_TRUE(Lease(folder.path()).still_ours());
  owner["pid_namespace"] = "pid:[1]";
  write_lease(folder, owner.dump());
  EXPECT_TRUE(Lease::held(folder.path()));
  EXPECT_TRUE(Lease(folder.path(), milliseconds(0), milliseconds(200)).still_ours());
}

// Fields of the wrong type, or half a file, say nothing about the owner: the lease is watched, like any other.
TEST(Lease, ThatIsDamagedIsWatched) {
  const test::TemporaryFolder folder;
  const auto whole = own_lease(folder);
  std::vector<std::string> contents{"", "{\"att", "[1]"};
  for (const char* field : {"host", "boot_id", "pid_namespace", "pid", "start_time"}) {
    auto damaged = whole;
    damaged[field] = nlohmann::json::array({1});
    contents.push_back(damaged.dump());
  }
  for (const auto& content : contents) {
    write_lease(folder, content);
    EXPECT_TRUE(Lease::held(folder.path())) << content;
    EXPECT_TRUE(Lease(folder.path(), milliseconds(0), milliseconds(100)).still_ours()) << content;
  }
}

TEST(Lease, ThatWasCopiedWithItsFolderIsTakenOverAtOnce) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "run");
  const Lease lease(folder / "run");
  std::filesystem::copy(folder / "run", folder / "copy");
  EXPECT_FALSE(Lease::held(folder / "copy"));
  testing::internal::CaptureStderr();
  const Lease of_copy(folder / "copy", milliseconds(0), std::chrono::seconds(60));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("is a copy of"), std::string::npos);
  EXPECT_TRUE(of_copy.still_ours());
  EXPECT_TRUE(lease.still_ours());
}

// The control: a folder that has got another name is the same folder.
TEST(Lease, OfAFolderThatWasRenamedIsInUse) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "run");
  const Lease lease(folder / "run");
  std::filesystem::rename(folder / "run", folder / "renamed");
  EXPECT_TRUE(Lease::held(folder / "renamed"));
  EXPECT_THROW(Lease(folder / "renamed", milliseconds(0)), Error);
  std::filesystem::rename(folder / "renamed", folder / "run");
}

TEST(Lease, WatchesForAMarker) {
  const test::TemporaryFolder folder;
  Lease lease(folder.path());
  lease.watch(folder / "STOP");
  EXPECT_FALSE(lease.marked());
  std::ofstream(folder / "STOP").flush();
  for (int i = 0; i < 1000 && !lease.marked(); ++i) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_TRUE(lease.marked());
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
  EXPECT_NO_THROW(lease.check());
  std::ofstream(folder / "lease") << "somebody else";
  EXPECT_FALSE(lease.still_ours());
  EXPECT_ERROR(lease.require(), ExitCode::run_failed, testing::HasSubstr("no longer holds"));
  const auto found_out = [&] {
    try {
      lease.check();
      return false;
    } catch (const Error&) {
      return true;
    }
  };
  for (int i = 0; i < 1000 && !found_out(); ++i) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_TRUE(found_out());
}

}  // namespace
}  // namespace spankey::lease_test
