#include "spankey/deny/feature_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

namespace spankey::feature_loss_test {
namespace {

constexpr std::int64_t n = 7, width = 4, classes = 3;

struct Passes {
  Output correct, wrong, none;
  explicit Passes(std::uint64_t seed) {
    at::manual_seed(seed);
    for (Output* output : {&correct, &wrong, &none}) {
      output->logits = at::randn({n, classes}, at::kDouble);
      output->features = at::randn({n, 2, width / 2}, at::kDouble);  // not flattened
    }
  }
};

const at::Tensor labels = at::tensor({0, 2, 2, 0, 2, 0, 2}, at::kLong);  // class 1 has no sample
const DenyConfig config;

at::Tensor loss(const Passes& p, bool with_none = true) {
  return feature_loss({p.correct, &p.wrong, with_none ? &p.none : nullptr, labels, config});
}

using Row = std::array<double, width>;

Row row_of(const at::Tensor& features, std::int64_t i) {
  Row row{};
  for (std::int64_t c = 0; c < width; ++c) row[static_cast<std::size_t>(c)] = features.flatten(1)[i][c].item<double>();
  return row;
}

// The definition in scalars.
double expected(const at::Tensor& correct, const at::Tensor& denied, std::int64_t sample) {
  Row mean{}, own{};
  double members = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const Row row = row_of(correct, i);
    const bool same = labels[i].item<std::int64_t>() == labels[sample].item<std::int64_t>();
    members += same ? 1 : 0;
    for (std::size_t c = 0; c < width; ++c) {
      mean[c] += row[c] / n;
      if (same) own[c] += row[c];
    }
  }
  const Row f = row_of(denied, sample);
  double product = 0, a = 0, b = 0;
  for (std::size_t c = 0; c < width; ++c) {
    const double direction = own[c] / members - mean[c];
    product += f[c] * direction;
    a += f[c] * f[c];
    b += direction * direction;
  }
  return std::max(0.0, product / std::sqrt(a * b));
}

TEST(FeatureLoss, IsTheCosineWithTheDirectionOfTheOwnClass) {
  const Passes p(1);
  const at::Tensor both = loss(p), one = loss(p, false);
  double positive = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const double wrong = expected(p.correct.features, p.wrong.features, i);
    const double none = expected(p.correct.features, p.none.features, i);
    EXPECT_NEAR(one[i].item<double>(), wrong, 1e-12) << i;
    EXPECT_NEAR(both[i].item<double>(), (wrong + none) / 2, 1e-12) << i;
    positive += wrong > 0 ? 1 : 0;
  }
  EXPECT_GT(positive, 0);
  EXPECT_LT(positive, n);
}

TEST(FeatureLoss, VanishesForFeaturesAcrossTheClassesAndIsOneAlongThem) {
  Passes p(2);
  p.correct.features = at::randn({n, width}, at::kDouble);
  p.correct.features.narrow(1, width - 1, 1).fill_(0.5);  // no class differs in the last one
  p.wrong.features = at::zeros({n, width}, at::kDouble);
  p.wrong.features.narrow(1, width - 1, 1).fill_(3.0);
  EXPECT_LT(loss(p, false).abs().max().item<double>(), 1e-15);
  for (std::int64_t i = 0; i < n; ++i)
    p.wrong.features[i].copy_(p.correct.features.index({labels.eq(labels[i])}).mean(0) - p.correct.features.mean(0));
  EXPECT_LT((loss(p, false) - 1).abs().max().item<double>(), 1e-12);
  p.wrong.features.neg_();
  EXPECT_EQ(loss(p, false).abs().max().item<double>(), 0);
  // One class has no direction, and what rounding leaves of one is not taken for it.
  const at::Tensor same = at::zeros({n}, at::kLong);
  for (const auto type : {at::kDouble, at::kFloat}) {
    const Output correct{p.correct.logits.to(type), p.correct.features.to(type), {}};
    const Output wrong{p.wrong.logits.to(type), at::randn({n, width}, type), {}};
    EXPECT_LT(feature_loss({correct, &wrong, nullptr, same, config}).abs().max().item<double>(), 0.05);
  }
}

TEST(FeatureLoss, GradientsAgreeWithFiniteDifferencesAndSpareTheCorrectPass) {
  Passes p(3);
  for (Output* output : {&p.correct, &p.wrong, &p.none}) output->features.requires_grad_();
  loss(p).sum().backward();
  EXPECT_FALSE(p.correct.features.grad().defined());
  const at::NoGradGuard no_grad;
  constexpr double step = 1e-6;
  for (const at::Tensor& features : {p.wrong.features, p.none.features}) {
    at::Tensor flat = features.view({-1});
    for (std::int64_t i = 0; i < flat.numel(); ++i) {
      flat[i] += step;
      const double above = loss(p).sum().item<double>();
      flat[i] -= 2 * step;
      const double below = loss(p).sum().item<double>();
      flat[i] += step;
      EXPECT_NEAR(features.grad().view({-1})[i].item<double>(), (above - below) / (2 * step), 1e-8);
    }
  }
}

}  // namespace
}  // namespace spankey::feature_loss_test
