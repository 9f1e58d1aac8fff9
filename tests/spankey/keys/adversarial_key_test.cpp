#include "spankey/keys/adversarial_key.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <vector>

namespace spankey::adversarial_key_test {
namespace {

// One step worked out by hand: (3, 4, 0, 0) has norm 5 and root mean square 2.5; a step of a fifth of it is 0.5.
TEST(SignDescent, OneStepTakesItsClosedForm) {
  const std::vector<at::Tensor> keys = {at::tensor({3.0, 4.0, 0.0, 0.0}, at::kDouble).unsqueeze(0)};
  const auto moved = sign_descent(keys, 1, 0.2, [](const std::vector<at::Tensor>& here) {
    EXPECT_EQ(here[0][0][1].item<double>(), 4);
    return std::vector<at::Tensor>{at::tensor({1e-9, -700.0, 0.0, 2.0}, at::kDouble).unsqueeze(0)};
  });
  const double back = 5 / std::sqrt(2.5 * 2.5 + 4.5 * 4.5 + 0.25);
  const at::Tensor expected = back * at::tensor({2.5, 4.5, 0.0, -0.5}, at::kDouble).unsqueeze(0);
  EXPECT_LT((moved[0] - expected).abs().max().item<double>(), 1e-14);
  EXPECT_EQ(keys[0][0][0].item<double>(), 3);  // the key that was given stays
}

TEST(SignDescent, WithoutStepsOrWithoutASlopeAKeyStays) {
  at::manual_seed(5);
  const std::vector<at::Tensor> keys = {at::randn({1, 50}), 4 * at::randn({1, 9})};
  const auto level = [](const std::vector<at::Tensor>& here) {
    return std::vector<at::Tensor>{at::zeros_like(here[0]), at::zeros_like(here[1])};
  };
  for (const std::int64_t steps : {0, 3}) {
    const auto moved = sign_descent(keys, steps, 0.1, level);
    for (std::size_t i = 0; i < keys.size(); ++i) EXPECT_TRUE(moved[i].equal(keys[i])) << steps;
  }
}

// Softmax regression: the cross entropy is convex in a key that is added to the input. Each step lowers it, and keys
// keep their norms; against the gradient instead of along it, it rises (negative control).
TEST(SignDescent, LowersAConvexLossStepByStep) {
  at::manual_seed(6);
  constexpr std::int64_t samples = 40, width = 30, classes = 4;
  const at::Tensor x = at::randn({samples, width}, at::kDouble), w = at::randn({classes, width}, at::kDouble);
  const at::Tensor y = at::arange(samples, at::kLong).remainder(classes);
  const auto loss = [&](const at::Tensor& key) { return at::cross_entropy_loss((x + key).matmul(w.t()), y); };
  const auto gradient = [&](double sign) {
    return [&loss, sign](const std::vector<at::Tensor>& keys) {
      const at::Tensor leaf = keys[0].clone().requires_grad_();
      return std::vector<at::Tensor>{sign * torch::autograd::grad({loss(leaf)}, {leaf})[0]};
    };
  };
  std::vector<at::Tensor> down = {at::randn({1, width}, at::kDouble)}, up = down;
  const double norm = down[0].norm().item<double>();
  double last = loss(down[0]).item<double>();
  for (int step = 0; step < 10; ++step) {
    down = sign_descent(down, 1, 0.01, gradient(1));
    up = sign_descent(up, 1, 0.01, gradient(-1));
    const double now = loss(down[0]).item<double>();
    EXPECT_LT(now, last) << step;
    EXPECT_NEAR(down[0].norm().item<double>(), norm, 1e-12);
    last = now;
  }
  EXPECT_GT(loss(up[0]).item<double>(), last + 0.2);
}

}  // namespace
}  // namespace spankey::adversarial_key_test
