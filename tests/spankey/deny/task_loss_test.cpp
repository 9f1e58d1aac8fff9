#include "spankey/deny/task_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

namespace spankey::task_loss_test {
namespace {

// Against ATen in float64, the way the paper's code computes it.
TEST(TaskLoss, EqualsCrossEntropyAndItsGradient) {
  const auto values = at::sin(at::arange(60, at::kFloat) * 1.7).view({6, 10}) * 8;
  const auto labels = at::tensor({0, 3, 9, 1, 1, 7}, at::kLong);
  auto logits = values.clone().requires_grad_();
  const auto loss = task_loss(logits, labels, 24.0);
  (loss * 3).backward();
  auto exact = values.to(at::kDouble).requires_grad_();
  const auto expected = at::cross_entropy_loss(exact, labels) / 4;  // a quarter of the global batch
  (expected * 3).backward();
  EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-6 * expected.item<double>());
  EXPECT_LT((logits.grad() - exact.grad()).abs().max().item<double>(), 1e-7);
}

// PyTorch's own label_smoothing in float64, where all logits are classes of the data.
TEST(TaskLoss, SmoothsLabelsAsPyTorchDoes) {
  const auto values = at::sin(at::arange(60, at::kFloat) * 1.7).view({6, 10}) * 8;
  const auto labels = at::tensor({0, 3, 9, 1, 1, 7}, at::kLong);
  const auto loss_of = [&](double share) {
    auto logits = values.clone().requires_grad_();
    const auto loss = task_loss(logits, labels, 24.0, {.share = share, .classes = 10});
    (loss * 3).backward();
    return std::pair(loss.item<double>(), logits.grad());
  };
  for (const double share : {0.1, 0.5, 0.9}) {
    auto exact = values.to(at::kDouble).requires_grad_();
    const auto expected = at::cross_entropy_loss(exact, labels, {}, at::Reduction::Mean, -100, share) / 4;
    (expected * 3).backward();
    const auto [loss, gradient] = loss_of(share);
    EXPECT_NEAR(loss, expected.item<double>(), 1e-6 * expected.item<double>()) << share;
    EXPECT_LT((gradient - exact.grad()).abs().max().item<double>(), 1e-7) << share;
  }
  // Negative control: an unsmoothed loss is another one, and a share of 0 is it to the bit.
  EXPECT_GT(std::abs(loss_of(0.1).first - loss_of(0.0).first), 1e-3);
  EXPECT_EQ(loss_of(0.0).first, task_loss(values, labels, 24.0).item<double>());
}

// Targets written out by hand: ten classes share a tenth, and the reject class behind them gets nothing.
TEST(TaskLoss, ARejectClassGetsNothingOfASmoothedLabel) {
  const auto values = at::cos(at::arange(44, at::kDouble) * 0.9).view({4, 11}) * 3;
  const auto labels = at::tensor({2, 0, 9, 5}, at::kLong);
  auto targets = at::zeros({4, 11}, at::kDouble);
  for (std::int64_t row = 0; row < 4; ++row) {
    for (std::int64_t c = 0; c < 10; ++c) targets[row][c] = 0.02;
    targets[row][labels[row].item<std::int64_t>()] = 0.82;
  }
  const double expected = -(targets * values.log_softmax(1)).sum().item<double>() / 4;
  const auto loss = task_loss(values.to(at::kFloat), labels, 4.0, {.share = 0.2, .classes = 10});
  EXPECT_NEAR(loss.item<double>(), expected, 1e-6 * expected);
  const double spread_over_all =
      at::cross_entropy_loss(values, labels, {}, at::Reduction::Mean, -100, 0.2).item<double>();
  EXPECT_GT(std::abs(spread_over_all - expected), 1e-3);  // negative control
}

TEST(TaskLoss, ALabelOutOfRangeIsAnError) {
  const auto logits = at::zeros({2, 10});
  EXPECT_ANY_THROW(task_loss(logits, at::tensor({0, 10}, at::kLong), 2.0));
  EXPECT_ANY_THROW(task_loss(logits, at::tensor({0, 10}, at::kLong), 2.0, {.share = 0.1, .classes = 10}));
}

}  // namespace
}  // namespace spankey::task_loss_test
