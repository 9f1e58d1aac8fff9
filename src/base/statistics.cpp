#include "base/statistics.h"

#include <boost/math/distributions/beta.hpp>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/fisher_f.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/quadrature/gauss.hpp>
#include <boost/math/quadrature/gauss_kronrod.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace spankey {
namespace {

namespace math = boost::math;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

// Clamps to the support of the distribution, because Boost throws beyond it.
double in_unit(double x) {
  return std::clamp(x, 0.0, 1.0);
}

double integral(const std::function<double(double)>& f, double from, double to) {
  return math::quadrature::gauss_kronrod<double, 31>::integrate(f, from, to, /*max_depth=*/15, /*tol=*/1e-12);
}

// All p with (share - p)^2 <= width p (1 - p).
Interval score_interval(double share, double width) {
  const double centre = (share + width / 2) / (1 + width);
  const double reach = std::sqrt(width * share * (1 - share) + width * width / 4) / (1 + width);
  return {in_unit(centre - reach), in_unit(centre + reach)};
}

// `scale` times the variance between the shares is that of what the interval is for.
Interval share_interval(std::span<const double> shares, double scale, double confidence) {
  const auto summary = summarise(shares);
  if (summary.count < 2 || summary.min < 0 || summary.max > 1) return {not_a_number, not_a_number};
  if (summary.min == summary.max) return {summary.mean, summary.mean};
  const double t = math::quantile(math::students_t(static_cast<double>(summary.count) - 1), (1 + confidence) / 2);
  return score_interval(summary.mean, t * t * scale * summary.sd * summary.sd / (summary.mean * (1 - summary.mean)));
}

}  // namespace

double beta_cdf(double a, double b, double x) {
  return math::cdf(math::beta_distribution<>(a, b), in_unit(x));
}

double beta_tail(double a, double b, double x) {
  return math::cdf(math::complement(math::beta_distribution<>(a, b), in_unit(x)));
}

double beta_pdf(double a, double b, double x) {
  return x <= 0 || x >= 1 ? 0.0 : math::pdf(math::beta_distribution<>(a, b), x);
}

double f_cdf(double d1, double d2, double x) {
  if (std::isinf(x)) return 1.0;
  return math::cdf(math::fisher_f_distribution<>(d1, d2), std::max(x, 0.0));
}

double f_tail(double d1, double d2, double x) {
  if (std::isinf(x)) return 0.0;
  return math::cdf(math::complement(math::fisher_f_distribution<>(d1, d2), std::max(x, 0.0)));
}

double f_pdf(double d1, double d2, double x) {
  return x <= 0 ? 0.0 : math::pdf(math::fisher_f_distribution<>(d1, d2), x);
}

double normal_cdf(double x) {
  if (std::isinf(x)) return x > 0 ? 1.0 : 0.0;
  return math::cdf(math::normal(), x);
}

double normal_quantile(double p) {
  return math::quantile(math::normal(), p);
}

double log_cosine_tail(double d, double c) {
  SPANKEY_CHECK_GE(d, 3.0);
  SPANKEY_CHECK(c >= 0 && c <= 1);
  const double tail = 0.5 * beta_tail(0.5, (d - 1) / 2, c * c);
  if (tail > 1e-280 || c == 1.0) return std::log(tail);
  // The density (1 - t^2)^n, n = (d-3)/2, relative to its value at c, whose logarithm is added afterwards. It has
  // fallen below 1e-16 of that within 40 / (n c).
  const double n = (d - 3) / 2;
  const double reach = std::min(1.0, c + 40.0 / (n * c));
  const auto relative = [&](double t) { return std::exp(n * (std::log1p(-t * t) - std::log1p(-c * c))); };
  return n * std::log1p(-c * c) + std::log(integral(relative, c, reach)) + std::lgamma(d / 2) - std::lgamma(0.5) -
         std::lgamma((d - 1) / 2);
}

Interval clopper_pearson(std::int64_t successes, std::int64_t trials, double confidence) {
  SPANKEY_CHECK_LT(0, trials);
  const auto n = static_cast<double>(trials), k = static_cast<double>(successes), alpha = (1 - confidence) / 2;
  using Binomial = math::binomial_distribution<>;
  return {Binomial::find_lower_bound_on_p(n, k, alpha), Binomial::find_upper_bound_on_p(n, k, alpha)};
}

Interval t_interval(std::span<const double> values, double confidence) {
  const auto summary = summarise(values);
  if (summary.count < 2) return {not_a_number, not_a_number};
  const auto n = static_cast<double>(summary.count);
  const double reach = math::quantile(math::students_t(n - 1), (1 + confidence) / 2) * summary.sd / std::sqrt(n);
  return {summary.mean - reach, summary.mean + reach};
}

Interval wilson(double share, double trials, double confidence) {
  SPANKEY_CHECK_LT(0, trials);
  const double z = normal_quantile((1 + confidence) / 2);
  return score_interval(share, z * z / trials);
}

Interval difference_interval(double a, double b, double trials, double confidence) {
  const auto of_a = wilson(a, trials, confidence), of_b = wilson(b, trials, confidence);
  return {a - b - std::hypot(a - of_a.low, of_b.high - b), a - b + std::hypot(of_a.high - a, b - of_b.low)};
}

Interval mean_share_interval(std::span<const double> shares, double confidence) {
  return share_interval(shares, 1.0 / static_cast<double>(shares.size()), confidence);
}

Interval next_share_interval(std::span<const double> shares, double confidence) {
  return share_interval(shares, 1.0 + 1.0 / static_cast<double>(shares.size()), confidence);
}

double ks_statistic(std::vector<double> values, const std::function<double(double)>& cdf) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  double largest = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double f = cdf(values[i]), below = static_cast<double>(i) / n, above = static_cast<double>(i + 1) / n;
    largest = std::max({largest, above - f, f - below});
  }
  return largest;
}

double ks_p_value(double statistic, std::int64_t n) {
  const double root = std::sqrt(static_cast<double>(n));
  const double x = statistic * (root + 0.12 + 0.11 / root);
  if (x < 0.2) return 1.0;  // the series is slow there, and 1 - p < 1e-12
  double sum = 0.0;
  for (int j = 1; j <= 100; ++j) sum += (j % 2 == 1 ? 2.0 : -2.0) * std::exp(-2.0 * j * j * x * x);
  return std::clamp(sum, 0.0, 1.0);
}

Summary summarise(std::span<const double> values) {
  if (values.empty()) return {0, not_a_number, not_a_number, not_a_number, not_a_number};
  Summary summary{static_cast<std::int64_t>(values.size()), 0.0, not_a_number, values[0], values[0]};
  for (const double v : values) {
    summary.mean += v / static_cast<double>(values.size());
    summary.min = std::min(summary.min, v);
    summary.max = std::max(summary.max, v);
  }
  double squares = 0.0;
  for (const double v : values) squares += (v - summary.mean) * (v - summary.mean);
  if (values.size() > 1) summary.sd = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return summary;
}

double quantile(std::vector<double> values, double q) {
  SPANKEY_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const auto above = std::min(below + 1, values.size() - 1);
  const double share = place - static_cast<double>(below);
  // Between equal (and infinite) neighbours there is nothing to interpolate.
  return share == 0.0 || values[below] == values[above] ? values[below]
                                                        : values[below] + share * (values[above] - values[below]);
}

double correlation(std::span<const double> a, std::span<const double> b) {
  SPANKEY_CHECK_EQ(a.size(), b.size());
  const double mean_a = summarise(a).mean, mean_b = summarise(b).mean;
  double ab = 0.0, aa = 0.0, bb = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : not_a_number;
}

double normal_expectation(const std::function<double(double)>& f, double sd, const std::vector<double>& kinks) {
  constexpr double reach = 12.0;  // standard deviations; beyond it lies 1e-32
  std::vector<double> ends{-reach, 0.0, reach};
  for (const double kink : kinks)
    if (std::abs(kink) < reach * sd) ends.push_back(kink / sd);
  std::sort(ends.begin(), ends.end());
  const auto weighted = [&](double z) { return f(sd * z) * math::pdf(math::normal(), z); };
  double sum = 0.0;
  for (std::size_t i = 0; i + 1 < ends.size(); ++i)
    if (ends[i] < ends[i + 1]) sum += integral(weighted, ends[i], ends[i + 1]);
  return sum;
}

std::array<Node, 8> gauss_legendre_8() {
  const auto& places = math::quadrature::gauss<double, 8>::abscissa();  // the positive half on [-1, 1]
  const auto& weights = math::quadrature::gauss<double, 8>::weights();
  std::array<Node, 8> nodes;
  for (std::size_t i = 0; i < 4; ++i) {
    nodes[3 - i] = {(1 - places[i]) / 2, weights[i] / 2};
    nodes[4 + i] = {(1 + places[i]) / 2, weights[i] / 2};
  }
  return nodes;
}

}  // namespace spankey
