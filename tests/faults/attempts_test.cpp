// A second attempt, what dead attempts leave behind, and a disk without room.
#include <gmock/gmock.h>

#include "base/file.h"
#include "faults/budget.h"
#include "faults/faulty_run.h"

namespace spankey::test::attempts_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST_F(FaultyRun, ASupersededAttemptStopsWithoutWriting) {
  Child child(train(1, "run", {"train.epochs=1000"}), folder.path());
  wait_for_step(child, "run", 3);
  write_durably(folder / "run/lease", R"({"attempt":2,"host":"elsewhere","boot_id":"x","pid":1,"start_time":"1"})");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // a save that had been asked already may end
  const int newest = newest_step("run");
  const auto outcome = child.wait(std::chrono::seconds(20));
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("attempt 1 no longer holds"), HasSubstr("elsewhere")));
  EXPECT_EQ(outcome.err.find("no longer holds"), outcome.err.rfind("no longer holds")) << "said more than once";
  EXPECT_EQ(newest_step("run"), newest);
  EXPECT_EQ(litter("run"), 0);
  EXPECT_THAT(read_text(folder / "run/lease"), HasSubstr("elsewhere"));  // it is the other attempt's
}

TEST_F(FaultyRun, HalfWrittenFilesOfDeadAttemptsGo) {
  train_and_kill("run", 3);
  for (const char* name : {"run/checkpoints/step_00000099.h5.tmp", "run/config.toml.tmp", "run/secret/basis.h5.tmp"})
    std::ofstream(folder / name) << "half";
  expect_success(train(1, "run"));
  EXPECT_EQ(litter("run"), 0);
  EXPECT_EQ(read_text(folder / "run/attempt"), "2\n");
  EXPECT_FALSE(std::filesystem::exists(folder / "run/lease"));
}

TEST_F(FaultyRun, ARunThatCouldNotSaveTwiceIsNotStarted) {
  if (!mount_small("disk", "400k")) GTEST_SKIP() << "mounting a small file system takes root";
  const auto outcome = test::run(train(1, "disk/run"), folder.path());
  EXPECT_EQ(outcome.exit_code, 3) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("two checkpoints take"));
  EXPECT_EQ(newest_step("disk/run"), 0);
  EXPECT_EQ(test::run({"mount", "-o", "remount,size=16m", (folder / "disk").string()}, folder.path()).exit_code, 0);
  expect_success(train(1, "disk/run"));
  test::run({"umount", (folder / "disk").string()}, folder.path());
  report("R11", "starts refused for lack of room", 1, 1);
}

}  // namespace
}  // namespace spankey::test::attempts_test
