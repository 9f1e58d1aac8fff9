#include "train/schedule.h"

#include <gtest/gtest.h>

namespace spankey::schedule_test {
namespace {

TEST(Schedule, LearningRatesFollowTheSchedule) {
  OptimConfig c;
  c.lr = 0.2;
  EXPECT_EQ(learning_rate(c, {7, 10}), 0.2);
  c.schedule = Schedule::multistep;
  c.milestones = {3, 5};
  EXPECT_DOUBLE_EQ(learning_rate(c, {2, 10}), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(c, {3, 10}), 0.02);
  EXPECT_DOUBLE_EQ(learning_rate(c, {9, 10}), 0.002);
  c.schedule = Schedule::step;
  c.milestones = {4};
  c.schedule_factor = 0.5;
  EXPECT_DOUBLE_EQ(learning_rate(c, {3, 10}), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(c, {9, 10}), 0.05);
  c.schedule = Schedule::cosine;
  EXPECT_DOUBLE_EQ(learning_rate(c, {0, 10}), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(c, {5, 10}), 0.1);
}

// By hand: 4 epochs of 5 steps, the rate falls from step 14 of 20 on, to a sixth of it in the last step.
TEST(Schedule, LinearIsConstantAndThenALineToZero) {
  OptimConfig c;
  c.lr = 0.3;
  c.schedule = Schedule::linear;
  EXPECT_EQ(learning_rate(c, {0, 4, 0, 5}), 0.3);
  EXPECT_EQ(learning_rate(c, {2, 4, 3, 5}), 0.3);
  EXPECT_NEAR(learning_rate(c, {2, 4, 4, 5}), 0.3, 1e-15);
  EXPECT_NEAR(learning_rate(c, {3, 4, 0, 5}), 0.25, 1e-15);
  EXPECT_NEAR(learning_rate(c, {3, 4, 4, 5}), 0.05, 1e-15);
  c.constant_fraction = 0.0;
  EXPECT_NEAR(learning_rate(c, {0, 4, 1, 5}), 0.285, 1e-15);
}

// By hand: 8 warm-up steps in epochs of 5, so that the last of them is the third step of the second epoch.
TEST(Schedule, WarmUpIsALineOverTheFirstStepsOfWhateverSchedule) {
  OptimConfig c;
  c.lr = 0.4;
  c.warmup_steps = 8;
  EXPECT_DOUBLE_EQ(learning_rate(c, {0, 4, 0, 5}), 0.05);
  EXPECT_DOUBLE_EQ(learning_rate(c, {0, 4, 3, 5}), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(c, {1, 4, 0, 5}), 0.3);
  EXPECT_DOUBLE_EQ(learning_rate(c, {1, 4, 1, 5}), 0.35);
  EXPECT_EQ(learning_rate(c, {1, 4, 2, 5}), 0.4);
  EXPECT_EQ(learning_rate(c, {3, 4, 4, 5}), 0.4);
  c.schedule = Schedule::multistep;
  c.milestones = {1};
  EXPECT_DOUBLE_EQ(learning_rate(c, {0, 4, 4, 5}), 0.25);
  EXPECT_DOUBLE_EQ(learning_rate(c, {1, 4, 0, 5}), 0.03);
  EXPECT_DOUBLE_EQ(learning_rate(c, {1, 4, 2, 5}), 0.04);
  c.schedule = Schedule::linear;
  c.constant_fraction = 0.0;
  EXPECT_NEAR(learning_rate(c, {0, 4, 1, 5}), 0.4 * 0.95 * 0.25, 1e-15);
  c.warmup_steps = 1;
  EXPECT_NEAR(learning_rate(c, {0, 4, 1, 5}), 0.4 * 0.95, 1e-15);
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
