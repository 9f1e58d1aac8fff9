// Class biases, tables and probes against what plain means give.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "attack/attacks/class_bias.h"
#include "attack/attacks/remap.h"
#include "toy_run.h"

namespace spankey::readout_test {
namespace {

struct Problem {
  at::Tensor logits, labels;
};

Problem problem(std::int64_t n = 40) {
  at::Tensor logits = at::empty({n, 5}, at::kDouble);
  Stream({.seed = 3, .purpose = Purpose::test})
      .fill_uniform(std::span(logits.mutable_data_ptr<double>(), static_cast<std::size_t>(logits.numel())));
  return {logits * 6, (at::arange(n, at::kLong) * 7).remainder(5).clamp_max(3)};
}

// sum_i (p_ic - y_ic) / N + 2e-3 b_c = 0, with loops and exp().
TEST(ClassBias, MeetsTheFirstOrderCondition) {
  const auto [logits, labels] = problem();
  const auto bias = best_class_bias(logits, labels);
  const auto n = logits.size(0);
  const auto z = logits.accessor<double, 2>();
  const auto* y = labels.const_data_ptr<std::int64_t>();
  const auto* b = bias.const_data_ptr<double>();
  for (std::int64_t c = 0; c < 5; ++c) {
    double slope = 2e-3 * b[c];
    for (std::int64_t i = 0; i < n; ++i) {
      double all = 0;
      for (std::int64_t k = 0; k < 5; ++k) all += std::exp(z[i][k] + b[k]);
      slope += (std::exp(z[i][c] + b[c]) / all - (y[i] == c ? 1.0 : 0.0)) / static_cast<double>(n);
    }
    EXPECT_NEAR(slope, 0.0, 1e-7) << c;
  }
  // Control: the condition sees a bias that is not the best one.
  EXPECT_LT(class_bias_objective(logits, labels, bias), class_bias_objective(logits, labels, bias + 0.01 * bias));
}

TEST(ClassBias, FindsTheBiasThatWasTakenAway) {
  const auto right = at::one_hot(at::arange(50, at::kLong).remainder(5), 5).to(at::kDouble) * 4;
  const auto taken = at::tensor({3.0, -8.0, 0.5, 6.0, -1.0}, at::kDouble);
  const auto labels = at::arange(50, at::kLong).remainder(5);
  EXPECT_NE((right - taken).argmax(1).eq(labels).sum().item<std::int64_t>(), 50);
  const auto bias = best_class_bias(right - taken, labels);
  EXPECT_EQ((right - taken + bias).argmax(1).eq(labels).sum().item<std::int64_t>(), 50);
}

TEST(Remap, MajorityWithIdentityForTiesAndTheUnseen) {
  // Answer 0: labels 2, 2, 1 -> 2. Answer 1: labels 0, 3 -> a tie. Answer 2: unseen. Answer 3: label 0.
  const auto answers = at::tensor({0, 0, 0, 1, 1, 3}, at::kLong);
  const auto labels = at::tensor({2, 2, 1, 0, 3, 0}, at::kLong);
  EXPECT_TRUE(at::equal(majority_table(answers, labels, 4), at::tensor({2, 1, 2, 0}, at::kLong)));
}

// A tie at the first classes must not look like a majority.
TEST(Remap, CountsAreNotMixedBetweenAnswers) {
  const auto answers = at::tensor({2, 2, 1}, at::kLong);
  const auto labels = at::tensor({0, 0, 2}, at::kLong);
  EXPECT_TRUE(at::equal(majority_table(answers, labels, 3), at::tensor({0, 2, 0}, at::kLong)));
}

// Labels that say nothing open nothing, and the same attack with true labels does.
TEST(Readout, PermutedLabelsStayAtChance) {
  const auto run = test::locked_run(test::small_mlp);
  const auto& dataset = *run.experiment.dataset;
  const auto n = static_cast<double>(dataset.test().size);
  const double majority = dataset.majority_rate(dataset.test());
  AttackContext context(run, find_attack("O2c"), 0);
  auto images = context.labelled(600);
  const auto order = permutation({.seed = 9, .purpose = Purpose::test}, 600);
  const auto shuffled = images.labels.index_select(0, at::tensor(order, at::kLong));
  const auto accuracy = [&](const at::Tensor& labels) {
    const at::NoGradGuard no_grad;
    auto& model = *run.experiment.model;
    const auto read = [&](const at::Tensor& x) {
      return model.forward(x, Injection::none()).logits.narrow(1, 0, context.classes()).to(at::kDouble);
    };
    const auto bias = best_class_bias(read(images.x), labels);
    const auto counts = context.judge(
        [&](const at::Tensor& x) {
          return Output{read(x) + bias, {}, {}};
        },
        RejectKind::none);
    return static_cast<double>(counts.strip) / n;
  };
  EXPECT_GT(accuracy(images.labels), majority + 8 * std::sqrt(majority / n));
  EXPECT_LT(accuracy(shuffled), accuracy(images.labels) + 1e-12);
}

}  // namespace
}  // namespace spankey::readout_test
