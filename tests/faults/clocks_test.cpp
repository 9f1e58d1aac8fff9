// Hosts whose clocks differ by an hour, and one run directory.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

#include "base/error.h"
#include "base/lease.h"
#include "faults/budget.h"
#include "faults/faulty_run.h"

namespace spankey::test::clocks_test {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Whether the run directory may be taken.
using Judge = std::function<bool(const std::filesystem::path& folder)>;

bool by_watching(const std::filesystem::path& folder) {
  try {
    const Lease lease(folder, milliseconds(0), milliseconds(1500));
    return true;
  } catch (const Error&) {
    return false;
  }
}

// By the age that the reader's clock gives to the lease.
bool by_the_clock(const std::filesystem::path& folder) {
  struct stat status {};
  stat((folder / "lease").c_str(), &status);
  return time(nullptr) - status.st_mtime > 30;
}

// The number of wrong judgements of a living and of a dead owner, whose clock is so many seconds ahead.
int mistakes(const Judge& may_take, int seconds_ahead) {
  int wrong = 0;
  for (const bool lives : {true, false}) {
    const TemporaryFolder folder;
    std::ofstream(folder / "lease") << R"({"attempt":7,"host":"elsewhere","boot_id":"x","pid":1,"start_time":"1"})";
    const auto renew = [&] {
      timespec times[2] = {};
      clock_gettime(CLOCK_REALTIME, &times[0]);
      times[0].tv_sec += seconds_ahead;
      times[1] = times[0];
      utimensat(AT_FDCWD, (folder / "lease").c_str(), times, 0);
    };
    renew();
    std::atomic<bool> stop = !lives;
    std::thread owner([&] {
      while (!stop) {
        std::this_thread::sleep_for(milliseconds(100));
        renew();
      }
    });
    wrong += may_take(folder.path()) == lives;
    stop = true;
    owner.join();
  }
  return wrong;
}

TEST(Clocks, OfHostsMayDiffer) {
  int seen = 0, wrong = 0;
  for (const int ahead : {-3600, 3600}) {
    wrong += mistakes(by_watching, ahead);
    seen += mistakes(by_the_clock, ahead) > 0;
  }
  report("R22", "owners, alive and dead, of hosts an hour ahead and behind, judged rightly", 4 - wrong, 4);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(seen, 2);
  report_mutants("R22", "leases judged by the reader's clock", seen, 2);
}

// With the real program, as on a node with another name and another clock.
TEST_F(FaultyRun, ARunOfAnotherHostIsRefusedWhateverTheClockSays) {
  if (test::run({"unshare", "--uts", "faketime", "-f", "+1h", "true"}, folder.path()).exit_code != 0)
    GTEST_SKIP() << "another host name and another clock take root, unshare and faketime";
  Child child(train(1, "run", {"train.epochs=100000", "eval.every_epochs=0"}), folder.path());
  wait_for_step(child, "run", 3);
  int refused = 0;
  for (const std::string offset : {"+1h", "-1h"}) {
    auto command = train(1, "run", {"train.epochs=3", "--allow-change"});
    command.insert(command.begin(),
                   {"unshare", "--uts", "bash", "-c",
                    "hostname elsewhere && NO_FAKE_STAT=1 exec faketime -f " + offset + R"( "$@")", "bash"});
    const auto outcome = test::run(command, folder.path());
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("in use by another run"), Not(HasSubstr("taking over"))));
    refused += outcome.exit_code == 2;
  }
  EXPECT_TRUE(child.running());
  child.signal(SIGUSR2);
  EXPECT_EQ(child.wait().exit_code, 75);
  report("R22", "second runs on hosts an hour ahead and behind refused", refused, 2);
}

}  // namespace
}  // namespace spankey::test::clocks_test
