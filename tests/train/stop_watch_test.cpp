#include "train/stop_watch.h"

#include <gtest/gtest.h>

#include <csignal>

#include "base/shutdown.h"
#include "support/temporary_folder.h"

namespace spankey::stop_watch_test {
namespace {

constexpr double at_once = 1e-9;

double no_save_yet() {
  return 0.0;
}

TEST(StopWatch, ASignalStopsEveryRank) {
  shutdown::clear();
  StopWatch other_rank(/*max_seconds=*/0);
  EXPECT_FALSE(other_rank.asked_to_stop());
  EXPECT_EQ(other_rank.stop_signal(), 0);
  shutdown::request();
  EXPECT_TRUE(other_rank.asked_to_stop());
  EXPECT_TRUE(other_rank.should_stop());
  EXPECT_EQ(other_rank.stop_signal(), SIGUSR2);
  shutdown::clear();
}

// An evaluation that is begun again after each attempt might never fit into the limit.
TEST(StopWatch, TheLimitStopsRank0BetweenStepsAndNoEvaluation) {
  const test::TemporaryFolder folder;
  const Lease lease(folder.path());
  StopWatch other_rank(at_once), rank0(at_once), unlimited(0), later(3600);
  rank0.watch(lease, no_save_yet);
  unlimited.watch(lease, no_save_yet);
  later.watch(lease, no_save_yet);
  EXPECT_FALSE(other_rank.should_stop());
  EXPECT_TRUE(rank0.should_stop());
  EXPECT_FALSE(unlimited.should_stop());
  EXPECT_FALSE(later.should_stop());
  EXPECT_FALSE(rank0.asked_to_stop());
  EXPECT_EQ(rank0.stop_signal(), 0);
}

TEST(StopWatch, ThePaceSoFarTellsWhatIsLeft) {
  const StopWatch watch(0);
  EXPECT_EQ(watch.seconds_left(0, 100), 0.0);
  const double first = watch.seconds_left(10, 0), second = watch.seconds_left(10, 100);
  EXPECT_EQ(first, 0.0);
  EXPECT_GT(second, 0.0);
  EXPECT_LT(second, 3600.0);
}

}  // namespace
}  // namespace spankey::stop_watch_test
