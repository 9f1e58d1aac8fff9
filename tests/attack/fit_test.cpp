#include "attack/fit.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

namespace spankey::fit_test {
namespace {

Images rows(std::int64_t n) {
  return {at::arange(n, at::kDouble).view({n, 1}), at::arange(n, at::kLong)};
}

// Adam as Kingma & Ba write it, on (w - 3)^2 with plain numbers.
double adam_by_hand(double w, double lr, int steps) {
  double m = 0, v = 0;
  for (int t = 1; t <= steps; ++t) {
    const double g = 2 * (w - 3);
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    w -= lr * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
  }
  return w;
}

TEST(Fit, IsAdam) {
  const auto leaf = at::full({1}, 1.0, at::kDouble).requires_grad_(true);
  const auto second = at::full({2}, 1.0, at::kDouble).requires_grad_(true);
  const auto loss = [&](const Images&) { return (leaf - 3).square().sum() + (second - 3).square().sum(); };
  const double last = fit({leaf, second}, rows(4), loss, {.lr = 0.05, .steps = 25, .order = {}, .after_each_step = {}});
  const double expected = adam_by_hand(1.0, 0.05, 25);
  EXPECT_NEAR(leaf.item<double>(), expected, 1e-9);
  EXPECT_NEAR(second[1].item<double>(), expected, 1e-9);
  EXPECT_NEAR(last, 3 * (expected - 3) * (expected - 3), 1e-8);
  EXPECT_FALSE(leaf.grad().defined());
}

TEST(Fit, WithoutStepsOrRateNothingMoves) {
  const auto leaf = at::full({1}, 1.0, at::kDouble).requires_grad_(true);
  const auto loss = [&](const Images&) { return (leaf - 3).square().sum(); };
  EXPECT_EQ(fit({leaf}, rows(4), loss, {.lr = 0.05, .steps = 0, .order = {}, .after_each_step = {}}), 4.0);
  EXPECT_EQ(fit({leaf}, rows(4), loss, {.lr = 0.0, .steps = 5, .order = {}, .after_each_step = {}}), 4.0);
  EXPECT_EQ(leaf.item<double>(), 1.0);
}

TEST(Fit, EveryEpochSeesEveryImageOnceInAnOrderOfItsOwn) {
  const auto leaf = at::zeros({1}, at::kDouble).requires_grad_(true);
  std::vector<std::vector<std::int64_t>> batches;
  const auto loss = [&](const Images& batch) {
    EXPECT_TRUE(at::equal(batch.x.squeeze(1).to(at::kLong), batch.labels));
    const auto* first = batch.labels.const_data_ptr<std::int64_t>();
    batches.emplace_back(first, first + batch.size());
    return leaf.square().sum();
  };
  const StreamId order{.seed = 7, .purpose = Purpose::attack};
  fit({leaf}, rows(600), loss, {.lr = 0.1, .steps = 6, .order = order, .after_each_step = {}});
  ASSERT_EQ(batches.size(), 7U);  // one more for the loss at the end
  for (const std::size_t epoch : {0U, 3U}) {
    std::map<std::int64_t, int> seen;
    for (std::size_t i = 0; i < 3; ++i)
      for (const auto row : batches[epoch + i]) ++seen[row];
    EXPECT_EQ(seen.size(), 600U);
  }
  EXPECT_NE(batches[0], batches[3]);
  batches.clear();
  fit({leaf}, rows(largest_full_batch), loss, {.lr = 0.1, .steps = 1, .order = order, .after_each_step = {}});
  EXPECT_EQ(std::ssize(batches[0]), largest_full_batch);
}

TEST(Fit, ALossThatIsNoNumberEndsTheSearch) {
  const auto leaf = at::full({1}, 1.0, at::kDouble).requires_grad_(true);
  int steps = 0;
  const auto loss = [&](const Images&) {
    return ++steps == 3 ? leaf.sum() * std::numeric_limits<double>::quiet_NaN() : leaf.square().sum();
  };
  EXPECT_THROW(fit({leaf}, rows(4), loss, {.lr = 0.1, .steps = 9, .order = {}, .after_each_step = {}}), SearchFailed);
  EXPECT_EQ(steps, 3);
}

}  // namespace
}  // namespace spankey::fit_test
