#include "spankey/keys/alpha_law.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <vector>

namespace spankey::alpha_law_test {
namespace {

constexpr std::int64_t m = 8;
constexpr std::int64_t draws = 20000;

// (draws, m) float64
at::Tensor sample(AlphaLaw law, std::uint64_t seed = 1, std::int64_t width = m, std::int64_t count = draws) {
  const AlphaDraw draw(law, width, 7);
  at::Tensor alphas = at::empty({count, width}, at::kFloat);
  for (std::int64_t i = 0; i < count; ++i)
    draw({.seed = seed, .purpose = Purpose::test, .sample = static_cast<std::uint64_t>(i)},
         {alphas.mutable_data_ptr<float>() + i * width, static_cast<std::size_t>(width)});
  return alphas.to(at::kDouble);
}

// Kolmogorov's distance of the values from `cdf`; 1.95 / sqrt(n) is passed with probability .001.
double ks_distance(const at::Tensor& values, const std::function<double(double)>& cdf) {
  std::vector<double> sorted(values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel());
  std::sort(sorted.begin(), sorted.end());
  const auto n = static_cast<double>(sorted.size());
  double distance = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const double expected = cdf(sorted[i]);
    distance = std::max({distance, std::abs(expected - static_cast<double>(i) / n),
                         std::abs(expected - static_cast<double>(i + 1) / n)});
  }
  return distance;
}
const double ks_limit = 1.95 / std::sqrt(static_cast<double>(draws));

struct Law {
  AlphaLaw law;
  const char* name;
  double mean, variance;              // of one coefficient
  double covariance;                  // of two of them
  std::function<double(double)> cdf;  // of one coefficient
};

// Marginals in closed form: a coordinate of a point on the unit sphere in 8 dimensions has the density
// c (1 - x^2)^(5/2), whose integral is (x sqrt(1-x^2) (8 x^4 - 26 x^2 + 33) + 15 asin x) / 48; of Dirichlet(1 x 8) is
// Beta(1, 7).
const std::vector<Law>& laws() {
  static const std::vector<Law> all = {
      {AlphaLaw::u01, "u01", 0.5, 1.0 / 12, 0, [](double x) { return std::clamp(x, 0.0, 1.0); }},
      {AlphaLaw::u11, "u11", 0, 1.0 / 3, 0, [](double x) { return std::clamp((x + 1) / 2, 0.0, 1.0); }},
      {AlphaLaw::gauss, "gauss", 0, 1, 0, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }},
      {AlphaLaw::sphere, "sphere", 0, 1.0 / m, 0,
       [](double x) {
         const auto primitive = [](double t) {
           return (t * std::sqrt(1 - t * t) * (8 * std::pow(t, 4) - 26 * t * t + 33) + 15 * std::asin(t)) / 48;
         };
         return 0.5 + primitive(x) / (2 * primitive(1.0));
       }},
      {AlphaLaw::simplex, "simplex", 1.0 / m, (m - 1.0) / (m * m * (m + 1.0)), -1.0 / (m * m * (m + 1.0)),
       [](double x) { return 1 - std::pow(1 - x, m - 1); }},
  };
  return all;
}

TEST(AlphaLaw, MomentsAndMarginalsAreTheLaws) {
  for (const Law& law : laws()) {
    SCOPED_TRACE(law.name);
    const at::Tensor alphas = sample(law.law);
    const at::Tensor centred = alphas - law.mean;
    const double n = static_cast<double>(draws);
    // Within 4.5 standard errors, estimated from the draws themselves.
    for (std::int64_t i = 0; i < m; ++i) {
      const at::Tensor one = centred.select(1, i), other = centred.select(1, (i + 1) % m);
      EXPECT_NEAR(one.mean().item<double>(), 0, 4.5 * one.std().item<double>() / std::sqrt(n));
      EXPECT_NEAR(one.square().mean().item<double>(), law.variance,
                  4.5 * one.square().std().item<double>() / std::sqrt(n));
      EXPECT_NEAR((one * other).mean().item<double>(), law.covariance,
                  4.5 * (one * other).std().item<double>() / std::sqrt(n));
    }
    EXPECT_LT(ks_distance(alphas.select(1, 3).contiguous(), law.cdf), ks_limit);
    // Negative control: no other law passes for this one.
    for (const Law& other : laws()) {
      if (other.law == law.law) continue;
      EXPECT_GT(ks_distance(sample(other.law).select(1, 3).contiguous(), law.cdf), ks_limit) << other.name;
    }
  }
}

TEST(AlphaLaw, SpheresAndSimplicesAreWhatTheyAreCalled) {
  EXPECT_LT((sample(AlphaLaw::sphere).norm(2, 1) - 1).abs().max().item<double>(), 1e-6);
  const at::Tensor simplex = sample(AlphaLaw::simplex);
  EXPECT_LT((simplex.sum(1) - 1).abs().max().item<double>(), 1e-6);
  EXPECT_GE(simplex.min().item<double>(), 0);
  for (const AlphaLaw law : {AlphaLaw::sphere, AlphaLaw::simplex})
    EXPECT_TRUE(sample(law, 1, 1, 50).abs().eq(1).all().item<bool>());  // m = 1 leaves no choice
}

TEST(AlphaLaw, TheCodebookHas64WordsThatBelongToTheKeySeed) {
  const at::Tensor alphas = sample(AlphaLaw::codebook, 1, m, 6400), others = sample(AlphaLaw::codebook, 2, m, 6400);
  const auto words = [](const at::Tensor& rows) {
    std::multiset<std::vector<double>> result;
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      const double* row = rows.const_data_ptr<double>() + i * m;
      result.insert(std::vector<double>(row, row + m));
    }
    return result;
  };
  const auto found = words(alphas), again = words(others);
  const std::set<std::vector<double>> first(found.begin(), found.end()), second(again.begin(), again.end());
  EXPECT_EQ(first.size(), 64U);
  EXPECT_EQ(first, second);  // of the draws' seed only the order depends
  EXPECT_FALSE(alphas.equal(others));
  for (const auto& word : first)
    EXPECT_NEAR(static_cast<double>(found.count(word)), 100, 50);  // 5 standard deviations of a count
  // Each word is a u11 draw.
  at::Tensor all = at::empty({64, m}, at::kDouble);
  double* value = all.mutable_data_ptr<double>();
  for (const auto& word : first) value = std::copy(word.begin(), word.end(), value);
  EXPECT_NEAR(all.mean().item<double>(), 0, 4.5 / std::sqrt(3.0 * 64 * m));
  EXPECT_NEAR(all.square().mean().item<double>(), 1.0 / 3, 4.5 * std::sqrt(4.0 / 45) / std::sqrt(64.0 * m));
  // Negative control: another key seed has another codebook.
  const AlphaDraw other_key(AlphaLaw::codebook, m, 8);
  std::vector<float> word(m);
  other_key({.seed = 1, .purpose = Purpose::test}, word);
  EXPECT_EQ(first.count(std::vector<double>(word.begin(), word.end())), 0U);
}

TEST(AlphaLaw, ADrawIsAFunctionOfItsStream) {
  for (const AlphaLaw law :
       {AlphaLaw::u01, AlphaLaw::u11, AlphaLaw::gauss, AlphaLaw::sphere, AlphaLaw::simplex, AlphaLaw::codebook}) {
    EXPECT_TRUE(sample(law, 5, m, 20).equal(sample(law, 5, m, 20)));
    EXPECT_FALSE(sample(law, 5, m, 20).equal(sample(law, 6, m, 20)));
  }
}

at::Tensor unit_rows(const at::Tensor& rows) {
  return rows / rows.norm(2, 1, true);
}

// Mean pair cosine of coefficients: 3/4 for u01 up to 1/m, 0 for the laws without a mean (what the laws are for).
TEST(AlphaLaw, OnlyU01AndSimplexShareADirection) {
  const auto cosine = [](AlphaLaw law) {
    const at::Tensor unit = unit_rows(sample(law, 1, m, 2000));
    return unit.mean(0).square().sum().item<double>();
  };
  EXPECT_NEAR(cosine(AlphaLaw::u01), 0.77, 0.03);
  EXPECT_GT(cosine(AlphaLaw::simplex), 0.4);
  for (const AlphaLaw law : {AlphaLaw::u11, AlphaLaw::gauss, AlphaLaw::sphere}) EXPECT_LT(cosine(law), 0.01);
}

}  // namespace
}  // namespace spankey::alpha_law_test
