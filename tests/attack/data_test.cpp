// Which images an attacker has and which count.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "attack/attack_data.h"
#include "attack/plan.h"
#include "attack/unit_folder.h"
#include "support/expect_error.h"
#include "toy_run.h"

namespace spankey::data_test {
namespace {

TEST(AttackData, HalvesOfTheTestSplitShareNothing) {
  const auto dataset = test::few_glyphs();
  const AttackData data(dataset, ImageSource::heldout, 42), again(dataset, ImageSource::heldout, 42),
      other(dataset, ImageSource::heldout, 43);
  std::set<std::int64_t> all(data.judged().begin(), data.judged().end());
  EXPECT_EQ(std::ssize(all), 128);
  for (std::int64_t i = 0; i < data.offered(); ++i) EXPECT_TRUE(all.insert(data.offered_sample(i)).second) << i;
  EXPECT_EQ(std::ssize(all), dataset->test().size);
  EXPECT_EQ(*all.rbegin(), dataset->test().size - 1);
  const auto judged = [](const AttackData& one) {
    return std::vector<std::int64_t>(one.judged().begin(), one.judged().end());
  };
  EXPECT_EQ(judged(data), judged(again));
  EXPECT_NE(judged(data), judged(other));
  // Counted by hand.
  std::vector<int> counts(10);
  for (const auto sample : data.judged())
    ++counts[static_cast<std::size_t>(dataset->test().labels[static_cast<std::size_t>(sample)])];
  EXPECT_DOUBLE_EQ(data.majority_rate(), *std::max_element(counts.begin(), counts.end()) / 128.0);
}

TEST(AttackData, HeldOutImagesAreNoTrainingImages) {
  auto experiment = test::untrained(test::mode_b);
  const auto dataset = experiment.dataset;
  const auto run = make_attacked_run(std::move(experiment), std::nullopt, ImageSource::heldout);
  AttackContext context(run, find_attack("W1"), 0);
  const auto images = context.labelled(30);
  // Every image is one of the test split's first half, bit for bit.
  at::Tensor x, labels;
  std::vector<std::int64_t> offered;
  for (std::int64_t i = 0; i < run.data.offered(); ++i) offered.push_back(run.data.offered_sample(i));
  Assembler(*dataset, dataset->test(), Augment::none, 0, Purpose::eval_augment)(offered, 0, x, labels);
  for (std::int64_t i = 0; i < images.size(); ++i) {
    const auto same = (x == images.x[i]).flatten(1).all(1).logical_and(labels == images.labels[i]);
    EXPECT_TRUE(same.any().item<bool>()) << i;
  }
  EXPECT_EQ(context.judge(Injection::none()).samples, 128);
}

TEST(AttackData, DecidesUnitsAndBudgets) {
  const auto train = make_attacked_run(test::untrained(test::mode_b), std::nullopt),
             heldout = make_attacked_run(test::untrained(test::mode_b), std::nullopt, ImageSource::heldout);
  const Unit unit{&find_attack("O1"), {}, 0, 0.0};
  EXPECT_NE(UnitFolder("x", train).path(unit), UnitFolder("x", heldout).path(unit));
  EXPECT_ERROR(plan_attacks({.images = {200}}, heldout), ExitCode::bad_input,
               testing::HasSubstr("--images 200: the attacker's half of the test split has 128"));
  EXPECT_NO_THROW(plan_attacks({.images = {200}}, train));
}

}  // namespace
}  // namespace spankey::data_test
