#include "spankey/deny/task_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

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

TEST(TaskLoss, ALabelOutOfRangeIsAnError) {
  const auto logits = at::zeros({2, 10});
  EXPECT_ANY_THROW(task_loss(logits, at::tensor({0, 10}, at::kLong), 2.0));
}

}  // namespace
}  // namespace spankey::task_loss_test
