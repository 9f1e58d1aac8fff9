#include "base/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace spankey::statistics_test {
namespace {

// Abramowitz and Stegun 26.5: I_x(1,1) = x, I_{1/2}(1/2,1/2) = 1/2, I_x(a,b) = 1 - I_{1-x}(b,a), I_x(1,b) = 1-(1-x)^b.
TEST(Statistics, T3IncompleteBetaAgainstTable) {
  EXPECT_NEAR(beta_cdf(0.5, 0.5, 0.5), 0.5, 1e-15);
  for (const double x : {0.0, 0.1, 0.37, 0.9, 1.0}) {
    EXPECT_NEAR(beta_cdf(1, 1, x), x, 1e-15);
    EXPECT_NEAR(beta_cdf(1, 7, x), 1 - std::pow(1 - x, 7), 1e-14);
    EXPECT_NEAR(beta_cdf(2.5, 4, x), beta_tail(4, 2.5, 1 - x), 1e-14);
    EXPECT_NEAR(beta_cdf(0.5, 0.5, x), 2 / M_PI * std::asin(std::sqrt(x)), 1e-14);
  }
  EXPECT_EQ(beta_cdf(2, 3, -1), 0.0);
  EXPECT_EQ(beta_tail(2, 3, 2), 0.0);
  // Far out, where 1 - cdf would be 0: P(X >= x) = (1-x)^b for a = 1.
  EXPECT_NEAR(beta_tail(1, 40, 0.9) / std::pow(0.1, 40), 1.0, 1e-12);
}

// Quantiles printed in any table of F, t and the normal distribution.
TEST(Statistics, DistributionsAgainstTables) {
  EXPECT_NEAR(f_tail(5, 10, 3.3258), 0.05, 1e-5);
  EXPECT_NEAR(f_cdf(8, 20, 2.4471), 0.95, 1e-5);
  EXPECT_NEAR(normal_cdf(1.959963985), 0.975, 1e-9);
  EXPECT_NEAR(normal_quantile(0.975), 1.959963985, 1e-8);
  EXPECT_EQ(normal_cdf(-INFINITY), 0.0);
  EXPECT_EQ(f_tail(3, 4, INFINITY), 0.0);
}

TEST(Statistics, ClopperPearsonAgainstClosedForms) {
  const auto none = clopper_pearson(0, 10), all = clopper_pearson(10, 10), half = clopper_pearson(5, 10);
  EXPECT_EQ(none.low, 0.0);
  EXPECT_NEAR(none.high, 1 - std::pow(0.025, 0.1), 1e-12);
  EXPECT_NEAR(all.low, std::pow(0.025, 0.1), 1e-12);
  EXPECT_EQ(all.high, 1.0);
  EXPECT_NEAR(half.low, 0.1871, 5e-5);  // Clopper and Pearson, Biometrika 26 (1934)
  EXPECT_NEAR(half.high, 0.8129, 5e-5);
}

TEST(Statistics, IntervalOfTheMean) {
  const std::vector<double> values{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  const auto interval = t_interval(values);
  const double reach = 2.262157 * std::sqrt(55.0 / 6) / std::sqrt(10.0);  // t_{.975, 9}; sd^2 = 82.5 / 9
  EXPECT_NEAR(interval.low, 5.5 - reach, 1e-5);
  EXPECT_NEAR(interval.high, 5.5 + reach, 1e-5);
  EXPECT_TRUE(std::isnan(t_interval(std::vector<double>{1.0}).low));
}

// Wilson's limits of 81 of 263 and of 0 of 20: Newcombe, Statistics in Medicine 17 (1998) 857, table I.
TEST(Statistics, IntervalsOfSharesStayShares) {
  const auto many = wilson(81.0 / 263, 263), none = wilson(0, 20);
  EXPECT_NEAR(many.low, 0.2553, 5e-5);
  EXPECT_NEAR(many.high, 0.3662, 5e-5);
  EXPECT_EQ(none.low, 0.0);
  EXPECT_NEAR(none.high, 0.1611, 5e-5);
  const std::vector<double> low{0.0, 0.001, 0.0}, high{0.97, 1.0, 0.99, 1.0}, middle{0.50, 0.51, 0.49, 0.50};
  for (const auto& shares : {low, high, middle})
    for (const auto& interval : {mean_share_interval(shares), next_share_interval(shares)}) {
      EXPECT_GE(interval.low, 0.0);
      EXPECT_LE(interval.high, 1.0);
      EXPECT_LT(interval.low, summarise(shares).mean);
      EXPECT_GT(interval.high, summarise(shares).mean);
    }
  EXPECT_LT(t_interval(low).low, 0.0);  // what this is for
  EXPECT_GT(t_interval(high).high, 1.0);
  EXPECT_NEAR(mean_share_interval(middle).low, t_interval(middle).low, 1e-4);  // in the middle both say the same
  EXPECT_NEAR(mean_share_interval(middle).high, t_interval(middle).high, 1e-4);
  EXPECT_EQ(mean_share_interval(std::vector<double>{1, 1}).low, 1.0);
  EXPECT_TRUE(std::isnan(mean_share_interval(std::vector<double>{0.5}).low));
  EXPECT_TRUE(std::isnan(mean_share_interval(std::vector<double>{0.5, 1.5}).low));
}

TEST(Statistics, KolmogorovSmirnovKnowsItsLawFromAnother) {
  // Uniform order statistics in the middle of their cells have the smallest possible distance, 1/(2n).
  std::vector<double> even;
  for (int i = 0; i < 100; ++i) even.push_back((i + 0.5) / 100);
  const auto uniform = [](double x) { return x; };
  EXPECT_NEAR(ks_statistic(even, uniform), 0.005, 1e-12);
  EXPECT_NEAR(ks_p_value(1.3581 / std::sqrt(1e6), 1'000'000), 0.05, 1e-3);  // Kolmogorov's 5 % point
  EXPECT_NEAR(ks_p_value(1.6276 / std::sqrt(1e6), 1'000'000), 0.01, 1e-3);
  std::mt19937_64 draw(1);
  std::vector<double> values;
  for (int i = 0; i < 5000; ++i) values.push_back(std::uniform_real_distribution<>()(draw));
  EXPECT_GT(ks_p_value(ks_statistic(values, uniform), 5000), 0.001);
  EXPECT_LT(ks_p_value(ks_statistic(values, [](double x) { return x * x; }), 5000), 1e-9);
}

TEST(Statistics, Summaries) {
  const auto summary = summarise(std::vector<double>{3, 1, 2});
  EXPECT_EQ(summary.count, 3);
  EXPECT_DOUBLE_EQ(summary.mean, 2);
  EXPECT_DOUBLE_EQ(summary.sd, 1);
  EXPECT_EQ(summary.min, 1);
  EXPECT_EQ(summary.max, 3);
  EXPECT_TRUE(std::isnan(summarise({}).mean));
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 1.0), 4);
  EXPECT_DOUBLE_EQ(correlation(std::vector<double>{1, 2, 3}, std::vector<double>{5, 3, 1}), -1);
  EXPECT_TRUE(std::isnan(correlation(std::vector<double>{1, 1}, std::vector<double>{1, 2})));
}

TEST(Statistics, QuadratureIsExactWhereItMustBe) {
  // 8 Gauss-Legendre points integrate x^15 exactly and x^16 not.
  double odd = 0, even = 0;
  for (const auto& node : gauss_legendre_8()) {
    odd += node.weight * std::pow(node.at, 15);
    even += node.weight * std::pow(node.at, 16);
  }
  EXPECT_NEAR(odd, 1.0 / 16, 1e-15);
  EXPECT_GT(std::abs(even - 1.0 / 17), 1e-11);
  EXPECT_NEAR(normal_expectation([](double x) { return x * x * x * x; }, 0.7, {}), 3 * std::pow(0.7, 4), 1e-12);
  // E |X| = sd sqrt(2/pi), kink at 0; E 1[X > .3]
  EXPECT_NEAR(normal_expectation([](double x) { return std::abs(x); }, 2.0, {0.0}), 2 * std::sqrt(2 / M_PI), 1e-12);
  EXPECT_NEAR(normal_expectation([](double x) { return x > 0.3 ? 1.0 : 0.0; }, 1.0, {0.3}), normal_cdf(-0.3), 1e-12);
}

TEST(Statistics, TailOfTheCosine) {
  // In three dimensions the cosine is uniform on [-1, 1] (Archimedes).
  for (const double c : {0.0, 0.25, 0.9}) EXPECT_NEAR(log_cosine_tail(3, c), std::log((1 - c) / 2), 1e-12);
  // Continuous where the probability itself runs out of numbers, and right far beyond: for large d the tail is
  // (1-c^2)^((d-1)/2) / (c sqrt(2 pi d)) (1 + O(1/d)).
  const auto asymptotic = [](double d, double c) {
    return (d - 1) / 2 * std::log1p(-c * c) - std::log(c * std::sqrt(2 * M_PI * d));
  };
  for (const double d : {3000.0, 6000.0, 12480.0, 131072.0})
    EXPECT_NEAR(log_cosine_tail(d, 0.45), asymptotic(d, 0.45), 12 / d) << d;
  EXPECT_LT(log_cosine_tail(131072, 0.45), -10000);  // exp() of it is 0
}

}  // namespace
}  // namespace spankey::statistics_test
