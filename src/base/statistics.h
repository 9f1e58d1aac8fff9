// Distribution functions, intervals and summaries for all code that judges measurements. Only statistics.cpp includes
// Boost.Math, which is slow to compile.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace spankey {

// P(X <= x), P(X >= x) and density of Beta(a, b), of F(d1, d2) and of N(0, 1). Tails are computed directly, not as 1 -
// cdf.
double beta_cdf(double a, double b, double x);
double beta_tail(double a, double b, double x);
double beta_pdf(double a, double b, double x);
double f_cdf(double d1, double d2, double x);
double f_tail(double d1, double d2, double x);
double f_pdf(double d1, double d2, double x);
double normal_cdf(double x);
double normal_quantile(double p);

// log P(cos >= c), c >= 0, for the angle between a fixed direction and a Gaussian vector in d >= 3 dimensions, where P
// = 1/2 I_{1-c^2}((d-1)/2, 1/2). It is finite even where the probability itself underflows.
double log_cosine_tail(double d, double c);

struct Interval {
  double low = 0.0, high = 0.0;
};

// Exact two-sided interval of a probability after `successes` in `trials` > 0.
Interval clopper_pearson(std::int64_t successes, std::int64_t trials, double confidence = 0.95);
// Interval within [0, 1] of a probability, given the observed share in `trials` > 0 (Wilson, JASA 22 (1927)).
Interval wilson(double share, double trials, double confidence = 0.95);
// Interval of the difference a - b of two such probabilities (Newcombe, Statistics in Medicine 17 (1998), method 10).
Interval difference_interval(double a, double b, double trials, double confidence = 0.95);
// Interval of the mean of independent Gaussian values. NaN for fewer than two.
Interval t_interval(std::span<const double> values, double confidence = 0.95);
// Intervals of the mean of independent shares, each within [0, 1], and of one more such share. They are Wilson's
// interval with the variance between the values in place of the binomial one, and Student's t. They lie within [0, 1].
// NaN for fewer than two values and for values that are no shares.
Interval mean_share_interval(std::span<const double> shares, double confidence = 0.95);
Interval next_share_interval(std::span<const double> shares, double confidence = 0.95);

// ks_statistic is the largest distance between the empirical distribution of `values` and `cdf`. ks_p_value is the
// probability of a larger one under the null hypothesis of n independent draws (Kolmogorov's limit with Stephens'
// correction, JRSS B 32 (1970)).
double ks_statistic(std::vector<double> values, const std::function<double(double)>& cdf);
double ks_p_value(double statistic, std::int64_t n);

// Mean, unbiased standard deviation (NaN below two values) and extremes. NaN where there are no values.
struct Summary {
  std::int64_t count = 0;
  double mean = 0.0, sd = 0.0, min = 0.0, max = 0.0;
};
Summary summarise(std::span<const double> values);

// Quantile by linear interpolation between order statistics. `q` is in [0, 1] and `values` is not empty.
double quantile(std::vector<double> values, double q);

// Pearson's correlation. NaN where one side is constant.
double correlation(std::span<const double> a, std::span<const double> b);

// E f(X), X ~ N(0, sd^2), by adaptive Gauss-Kronrod quadrature of the pieces between `kinks`.
double normal_expectation(const std::function<double(double)>& f, double sd, const std::vector<double>& kinks);

// The 8-point Gauss-Legendre rule on [0, 1].
struct Node {
  double at = 0.0, weight = 0.0;
};
std::array<Node, 8> gauss_legendre_8();

}  // namespace spankey
