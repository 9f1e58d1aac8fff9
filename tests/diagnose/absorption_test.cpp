#include "diagnose/absorption.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <cmath>
#include <random>

#include "base/statistics.h"
#include "diagnose/margin.h"
#include "diagnose/separation.h"
#include "spankey/keys/acceptance.h"
#include "train/toy_model.h"

namespace spankey::diagnose_absorption_test {
namespace {

constexpr std::int64_t m = 5, width = 60;

KeyConfig key_config() {
  KeyConfig config;
  config.m = m;
  config.inject = Inject::add;
  return config;
}

KeySpace key_space() {
  return {key_config(), make_basis(key_config(), {width}, 5)};
}

std::vector<double> to_list(const at::Tensor& t) {
  const at::Tensor dense = t.contiguous();
  return {dense.const_data_ptr<double>(), dense.const_data_ptr<double>() + dense.numel()};
}

TEST(GradientIndex, T16NullLaws) {
  torch::manual_seed(4);
  const auto space = key_space();
  const auto& slot = space.slots()[0];
  constexpr std::int64_t n = 4000;
  const at::Tensor isotropic = at::randn({n, width}, at::kDouble);
  const auto null = gradient_index(isotropic, slot);
  const auto f_law = [](double x) { return f_cdf(m, width - m, x); };
  const auto beta_law = [](double x) { return beta_cdf(0.5, (m - 1) / 2.0, x); };
  const auto uniform = [](double x) { return x; };
  EXPECT_GT(ks_p_value(ks_statistic(to_list(null.index), f_law), n), 0.001);
  EXPECT_GT(ks_p_value(ks_statistic(to_list(null.p_value), uniform), n), 0.001);
  EXPECT_GT(ks_p_value(ks_statistic(to_list(null.mean_share), beta_law), n), 0.001);
  EXPECT_GT(ks_p_value(ks_statistic(to_list(null.mean_share_p_value), uniform), n), 0.001);
  EXPECT_NEAR(null.index.mean().item<double>(), double(width - m) / (width - m - 2), 0.05);

  // Control: a gate that looks in one direction is no null.
  const auto gate = gradient_index(isotropic + 4 * slot.mean_direction, slot);
  EXPECT_LT(ks_p_value(ks_statistic(to_list(gate.index), f_law), n), 1e-9);
  EXPECT_GT(gate.mean_share.mean().item<double>(), 0.7);
  EXPECT_LT(quantile(to_list(gate.p_value), 0.5), 0.05);
}

TEST(WeightIndex, T17ConstructedNetworks) {
  torch::manual_seed(5);
  const at::Tensor basis = at::randn({m, width}, at::kDouble);
  const at::Tensor q = std::get<0>(at::linalg_qr(basis.t()));  // (width, m)
  const at::Tensor w = at::randn({20, width}, at::kDouble);
  const at::Tensor blind = w - w.matmul(q).matmul(q.t());
  EXPECT_LT(weight_index(blind, 0, {width}, basis).index, 1e-12);
  EXPECT_EQ(weight_index(q.t(), 0, {width}, basis).index, index_cap);
  const auto none = weight_index(at::zeros({20, width}, at::kDouble), 0, {width}, basis);
  EXPECT_TRUE(std::isnan(none.index));
  // Between: half the energy per dimension in the span.
  const at::Tensor dimmed = w.clone() - (1 - std::sqrt(0.5)) * w.matmul(q).matmul(q.t());
  EXPECT_NEAR(weight_index(dimmed, 0, {width}, basis).index / weight_index(w, 0, {width}, basis).index, 0.5, 1e-9);

  // Independent Gaussian weights follow the null law.
  std::vector<double> p_values;
  for (int i = 0; i < 400; ++i) {
    const auto index = weight_index(at::randn({3, width}, at::kDouble), 0, {width}, basis);
    EXPECT_NEAR(index.p_low + index.p_high, 1, 1e-9);
    p_values.push_back(index.p_low);
  }
  EXPECT_GT(ks_p_value(ks_statistic(p_values, [](double x) { return x; }), 400), 0.001);
  EXPECT_LT(weight_index(0.2 * w + 0.8 * blind, 0, {width}, basis).p_low, 1e-6);
}

// A convolution is the matrix of its answers to unit impulses.
TEST(WeightIndex, T17ConvolutionIsItsMatrix) {
  torch::manual_seed(6);
  const std::vector<std::int64_t> shape{2, 5, 4};
  const at::Tensor weight = at::randn({3, 2, 3, 3}, at::kDouble);
  const at::Tensor impulses = at::eye(40, at::kDouble).view({40, 2, 5, 4});
  const at::Tensor matrix = at::conv2d(impulses, weight, {}, 1, 1).flatten(1).t().contiguous();  // (3*5*4, 40)
  const at::Tensor basis = at::randn({m, 40}, at::kDouble);
  const auto conv = weight_index(weight, 1, shape, basis);
  EXPECT_NEAR(conv.index, weight_index(matrix, 0, {40}, basis).index, 1e-9);
  EXPECT_TRUE(std::isnan(conv.p_low));  // its rows are not independent
  EXPECT_TRUE(first_operator("small_cnn", 1).has_value());
  EXPECT_FALSE(first_operator("mlp", 1).has_value());  // a ReLU comes first
}

TEST(Absorption, T18NetworkThatIgnoresItsKey) {
  torch::manual_seed(7);
  const auto space = key_space();
  // The first layer reads nothing that a key could change: all its weights are zero but those of a constant.
  const test::ToyModel::Activation deaf = [](const at::Tensor& h) { return at::ones_like(h); };
  test::ToyModel model(at::randn({8, width}, at::kDouble), at::randn({3, 8}, at::kDouble), deaf);
  const MarginProbe probe(model, space, {3, RejectKind::none});
  const at::Tensor x = at::randn({10, width}, at::kDouble), labels = at::zeros({10}, at::kLong);
  const auto index =
      gradient_index(probe.margin_gradient(x, labels, space.no_keys(1, at::kDouble))[0], space.slots()[0]);
  EXPECT_TRUE(index.index.isnan().all().item<bool>());
  EXPECT_TRUE(index.p_value.isnan().all().item<bool>());
  EXPECT_TRUE(index.mean_share.isnan().all().item<bool>());

  EXPECT_DOUBLE_EQ(absorption(0.9, 0.9, 0.1), 1.0);
  EXPECT_DOUBLE_EQ(absorption(0.1, 0.9, 0.1), 0.0);
  EXPECT_DOUBLE_EQ(absorption(0.5, 0.9, 0.1), 0.5);
  EXPECT_GT(absorption(0.95, 0.9, 0.1), 1.0);
  EXPECT_TRUE(std::isnan(absorption(0.1, 0.1, 0.1)));
}

TEST(Separation, T19EqualsBruteForceWithTies) {
  std::mt19937 draw(8);
  for (const int levels : {3, 20, 100000}) {
    std::uniform_int_distribution<int> level(0, levels);
    const int head_start = levels / 4;
    std::vector<double> holders, impostors;
    for (int i = 0; i < 150; ++i) holders.push_back(level(draw) + head_start);
    for (int i = 0; i < 220; ++i) impostors.push_back(level(draw));
    const auto found = separate(holders, impostors);
    double pairs = 0;
    for (const double h : holders)
      for (const double i : impostors) pairs += h > i ? 1 : h == i ? 0.5 : 0;
    EXPECT_NEAR(found.auroc, pairs / (150 * 220), 1e-12);
    // Every threshold: the smallest FAR among those that refuse at most 1 % of the holders.
    double best = 1;
    for (const double threshold : impostors) {
      const auto accepted = [&](const std::vector<double>& v) {
        return double(std::count_if(v.begin(), v.end(), [&](double s) { return s >= threshold; })) / double(v.size());
      };
      if (1 - accepted(holders) <= 0.01) best = std::min(best, accepted(impostors));
    }
    EXPECT_LE(found.far_at_frr, best + 1e-12);
    EXPECT_GE(found.far_at_frr, best - 1.0 / 220 - 150 / (levels + 1.0));
  }
}

TEST(Separation, KnownCurves) {
  const std::vector<double> high{5, 6, 7}, low{1, 2, 3};
  const auto apart = separate(high, low), reversed = separate(low, high), same = separate(low, low);
  EXPECT_DOUBLE_EQ(apart.auroc, 1);
  EXPECT_DOUBLE_EQ(apart.eer, 0);
  EXPECT_DOUBLE_EQ(apart.far_at_frr, 0);
  EXPECT_DOUBLE_EQ(reversed.auroc, 0);
  EXPECT_DOUBLE_EQ(same.auroc, 0.5);
  EXPECT_DOUBLE_EQ(same.eer, 0.5);
  // Two Gaussians at distance 2: EER = Phi(-1), AUROC = Phi(sqrt 2).
  std::mt19937_64 draw(9);
  std::normal_distribution<> normal;
  std::vector<double> holders, impostors;
  for (int i = 0; i < 40000; ++i) {
    holders.push_back(normal(draw) + 2);
    impostors.push_back(normal(draw));
  }
  const auto gauss = separate(holders, impostors);
  EXPECT_NEAR(gauss.eer, normal_cdf(-1), 0.005);
  EXPECT_NEAR(gauss.auroc, normal_cdf(std::sqrt(2.0)), 0.005);
  EXPECT_NEAR(gauss.far_at_frr, normal_cdf(normal_quantile(0.99) - 2), 0.02);
}

// da/dt = c / (1 + e^a) by the classical Runge-Kutta method.
TEST(RejectBias, T20GrowsLikeTheLogarithmOfTime) {
  constexpr double step = 1e-3;
  double a = 0, t = 0;
  const auto rate = [](double at) { return 1 / (1 + std::exp(at)); };
  for (const double until : {0.01, 0.5, 3.0, 20.0, 100.0}) {
    for (; t < until - step / 2; t += step) {
      const double k1 = rate(a), k2 = rate(a + step / 2 * k1), k3 = rate(a + step / 2 * k2), k4 = rate(a + step * k3);
      a += step / 6 * (k1 + 2 * k2 + 2 * k3 + k4);
    }
    EXPECT_NEAR(reject_bias(t), a, 1e-8) << t;
    EXPECT_GE(a, std::log1p(t / 2));
    // log(1 + ct) itself is no lower bound: the flow stays below it from the beginning.
    EXPECT_LT(a, std::log1p(t));
  }
  // Unbounded and logarithmic: ten times the time adds log 10.
  EXPECT_NEAR(reject_bias(1e9) - reject_bias(1e8), std::log(10.0), 1e-6);
  EXPECT_NEAR(reject_bias(1e12), std::log(1e12), 1e-9);
  EXPECT_NEAR(reject_bias(0), 0, 1e-12);
}

TEST(Drift, JensenShannonByHand) {
  const at::Tensor certain = at::tensor({100.0, 0.0, 0.0, 100.0}, at::kDouble).view({2, 2});
  const at::Tensor flipped = certain.flip(1), even = at::zeros({2, 2}, at::kDouble);
  EXPECT_NEAR(js_divergence(certain, flipped).max().item<double>(), 1.0, 1e-12);
  EXPECT_NEAR(js_divergence(certain, certain + 3).max().item<double>(), 0.0, 1e-12);
  // H(3/4) - H(1/2)/2, in bits
  const double expected = -0.75 * std::log2(0.75) - 0.25 * std::log2(0.25) - 0.5;
  EXPECT_NEAR(js_divergence(certain, even)[0].item<double>(), expected, 1e-12);
}

TEST(Acceptance, HalfAcceptCosine) {
  const std::vector<double> cosines{0, 0.25, 0.5, 0.75, 1};
  EXPECT_DOUBLE_EQ(half_accept_cosine({cosines, {0.0, 0.1, 0.3, 0.7, 0.8}}), 0.5 + 0.25 * 0.25);
  EXPECT_DOUBLE_EQ(half_accept_cosine({cosines, {0.9, 0.9, 0.9, 0.9, 0.9}}), 0.0);  // every key opens
  // A bump on the way does not count as open.
  EXPECT_DOUBLE_EQ(half_accept_cosine({cosines, {0.0, 0.6, 0.1, 0.7, 0.8}}), 0.5 + 0.25 * 0.5);
  EXPECT_EQ(guess_bits(0.0, 1568), 0.0);
  // P(cos >= c) = (1 - c) / 2 in three dimensions.
  EXPECT_NEAR(guess_bits(0.5, 3), 2.0, 1e-12);
  EXPECT_NEAR(guess_bits(0.3, 1568) / guess_bits(0.3, 784), 2.0, 0.1);
}

}  // namespace
}  // namespace spankey::diagnose_absorption_test
