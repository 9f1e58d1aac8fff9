#include "train/schedule.h"

#include <gtest/gtest.h>

namespace spankey::schedule_test {
namespace {

TEST(Schedule, LearningRatesFollowTheSchedule) {
  OptimConfig c;
  c.lr = 0.2;
  EXPECT_EQ(learning_rate(c, 10, 7), 0.2);
  c.schedule = Schedule::multistep;
  c.milestones = {3, 5};
  EXPECT_DOUBLE_EQ(learning_rate(c, 10, 2), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(c, 10, 3), 0.02);
  EXPECT_DOUBLE_EQ(learning_rate(c, 10, 9), 0.002);
  c.schedule = Schedule::step;
  c.milestones = {4};
  c.schedule_factor = 0.5;
  EXPECT_DOUBLE_EQ(learning_rate(c, 10, 3), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(c, 10, 9), 0.05);
  c.schedule = Schedule::cosine;
  EXPECT_DOUBLE_EQ(learning_rate(c, 10, 0), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(c, 10, 5), 0.1);
}

TEST(Schedule, DenyWeightStartsWithAShare) {
  DenyConfig c;
  c.weight = 0.4;
  EXPECT_EQ(deny_weight(c, 0), 0.4);
  c.warmup_epochs = 4;
  EXPECT_DOUBLE_EQ(deny_weight(c, 0), 0.1);
  EXPECT_DOUBLE_EQ(deny_weight(c, 3), 0.4);
  EXPECT_DOUBLE_EQ(deny_weight(c, 100), 0.4);
}

}  // namespace
}  // namespace spankey::schedule_test
