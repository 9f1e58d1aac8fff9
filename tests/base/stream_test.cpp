#include "base/stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "base/portable_math.h"

namespace spankey::stream_test {
namespace {

using Words = std::array<std::uint32_t, 4>;
using Key = std::array<std::uint32_t, 2>;

// Philox4x32-10 as in Salmon et al. (SC'11), section 3.3, written for this test.
Words reference_philox(Words c, Key k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<std::uint32_t>(p0)};
    k = {k[0] + 0x9E3779B9u, k[1] + 0xBB67AE85u};
  }
  return c;
}

// Random123 distribution, tests/kat_vectors, lines "philox4x32 10".
TEST(Stream, ReferencePhiloxMeetsPublishedVectors) {
  EXPECT_EQ(reference_philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(reference_philox({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(reference_philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Stream, LayoutIsTheOneTheHeaderPromises) {
  const StreamId id{.seed = 0x0123456789abcdefull,
                    .purpose = Purpose::alpha,
                    .epoch = 7,
                    .step = 11,
                    .sample = 0xfedcba9876543210ull,
                    .layer = 3};
  const Words mixed = reference_philox({4, 3, 7, 0}, {0x89abcdef, 0x01234567});
  const Stream stream(id);
  for (const std::uint32_t j : {0u, 1u, 1000u, 0xffffffffu}) {
    EXPECT_EQ(stream.block(j), reference_philox({j, 11, 0x76543210, 0xfedcba98}, {mixed[0], mixed[1]}));
  }
}

TEST(Stream, DrawsAreTheWordsOfTheLayout) {
  const Stream stream({.seed = 5, .sample = 9});
  const Words w = stream.block(1);
  EXPECT_EQ(stream.word(6), w[2]);
  EXPECT_EQ(stream.uniform(6), std::ldexp(static_cast<float>(w[2] >> 8), -24));
  const std::uint64_t joined = static_cast<std::uint64_t>(w[2]) << 32 | w[3];
  EXPECT_EQ(stream.uniform_double(3), std::ldexp(static_cast<double>(joined >> 11), -53));
  EXPECT_EQ(stream.below(3, std::uint64_t{1} << 32), w[2]);
  // Box-Muller in double precision.
  const double radius = std::sqrt(-2 * std::log(((w[2] >> 1) + 0.5) / 2147483648.0));
  const double angle = 2 * std::acos(-1.0) * static_cast<double>(w[3] >> 8) / 16777216.0;
  EXPECT_NEAR(stream.normal(6), radius * std::cos(angle), 2e-6);
  EXPECT_NEAR(stream.normal(7), radius * std::sin(angle), 2e-6);
}

TEST(Stream, EveryFieldOfTheIdentityMatters) {
  const StreamId base{.seed = 1, .purpose = Purpose::test, .epoch = 1, .step = 1, .sample = 1, .layer = 1};
  std::vector<StreamId> ids(8, base);
  ids[1].seed = 2;
  ids[2].seed |= std::uint64_t{1} << 40;
  ids[3].purpose = Purpose::augment;
  ids[4].epoch = 2;
  ids[5].step = 2;
  ids[6].sample |= std::uint64_t{1} << 40;
  ids[7].layer = 2;
  std::map<Words, std::size_t> seen;
  for (const StreamId& id : ids) EXPECT_TRUE(seen.emplace(Stream(id).block(0), seen.size()).second);
  EXPECT_EQ(Stream(base).block(0), Stream(ids[0]).block(0));
}

TEST(Stream, FillsEqualSingleDrawsBitForBit) {
  const Stream stream({.seed = 3, .step = 2});
  for (const std::size_t n : {0, 1, 2, 3, 4, 5, 127, 128, 255, 256, 257, 258, 600}) {
    std::vector<float> uniform(n), normal(n);
    std::vector<double> uniform_double(n);
    stream.fill_uniform(uniform);
    stream.fill_uniform(uniform_double);
    stream.fill_normal(normal);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_EQ(uniform[i], stream.uniform(i));
      EXPECT_EQ(uniform_double[i], stream.uniform_double(i));
      EXPECT_EQ(std::bit_cast<std::uint32_t>(normal[i]), std::bit_cast<std::uint32_t>(stream.normal(i)));
    }
  }
}

// sqrt(n) times the Kolmogorov-Smirnov distance; above 1.95 with probability .001 when the law is right.
constexpr double ks_limit = 1.95;

double kolmogorov_smirnov(std::vector<double> draws, const std::function<double(double)>& distribution) {
  std::sort(draws.begin(), draws.end());
  const auto n = static_cast<double>(draws.size());
  double distance = 0;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    const double p = distribution(draws[i]);
    distance = std::max({distance, p - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - p});
  }
  return distance * std::sqrt(n);
}

double uniform_distribution(double x) {
  return x;
}
double normal_distribution(double x) {
  return 0.5 * std::erfc(-x / std::sqrt(2.0));
}

constexpr std::size_t draws_per_test = 200'000;

template <class Draw>
std::vector<double> collect(Draw draw) {
  std::vector<double> draws(draws_per_test);
  for (std::size_t i = 0; i < draws.size(); ++i) draws[i] = draw(i);
  return draws;
}

TEST(StreamStatistics, Uniform) {
  const Stream stream({.seed = 42});
  const auto draws = collect([&](std::size_t i) { return stream.uniform(i); });
  EXPECT_LT(kolmogorov_smirnov(draws, uniform_distribution), ks_limit);
  EXPECT_LT(kolmogorov_smirnov(collect([&](std::size_t i) { return stream.uniform_double(i); }), uniform_distribution),
            ks_limit);
  EXPECT_GE(*std::min_element(draws.begin(), draws.end()), 0.0);
  EXPECT_LT(*std::max_element(draws.begin(), draws.end()), 1.0);
  // Negative control: a law that is 2 % off.
  EXPECT_GT(kolmogorov_smirnov(collect([&](std::size_t i) { return std::pow(stream.uniform(i), 1.02); }),
                               uniform_distribution),
            ks_limit);
}

TEST(StreamStatistics, Normal) {
  const Stream stream({.seed = 42});
  EXPECT_LT(kolmogorov_smirnov(collect([&](std::size_t i) { return stream.normal(i); }), normal_distribution),
            ks_limit);
  // Negative control: a standard deviation that is 3 % off.
  EXPECT_GT(kolmogorov_smirnov(collect([&](std::size_t i) { return 1.03 * stream.normal(i); }), normal_distribution),
            ks_limit);
}

double correlation(const std::vector<double>& a, std::size_t lag) {
  const std::size_t n = a.size() - lag;
  const double mean = std::accumulate(a.begin(), a.end(), 0.0) / static_cast<double>(a.size());
  double product = 0, square = 0;
  for (std::size_t i = 0; i < n; ++i) {
    product += (a[i] - mean) * (a[i + lag] - mean);
    square += (a[i] - mean) * (a[i] - mean);
  }
  return product / square;
}

// The first draw of the streams of successive samples, steps, epochs and layers, as training uses them.
TEST(StreamStatistics, AcrossStreams) {
  const std::vector<std::function<StreamId(std::size_t)>> walks = {
      [](std::size_t i) { return StreamId{.seed = 1, .sample = i}; },
      [](std::size_t i) { return StreamId{.seed = 1, .step = static_cast<std::uint32_t>(i)}; },
      [](std::size_t i) { return StreamId{.seed = 1, .epoch = static_cast<std::uint32_t>(i)}; },
      [](std::size_t i) { return StreamId{.seed = 1, .layer = static_cast<std::uint32_t>(i)}; },
      [](std::size_t i) { return StreamId{.seed = i}; }};
  for (const auto& walk : walks) {
    const auto draws = collect([&](std::size_t i) { return Stream(walk(i)).uniform(0); });
    EXPECT_LT(kolmogorov_smirnov(draws, uniform_distribution), ks_limit);
    // 3.3 standard errors of an independent sequence.
    EXPECT_LT(std::abs(correlation(draws, 1)), 3.3 / std::sqrt(draws_per_test));
  }
}

TEST(StreamStatistics, NormalsOfOnePairAreUncorrelated) {
  const Stream stream({.seed = 8});
  const auto draws = collect([&](std::size_t i) { return stream.normal(i); });
  EXPECT_LT(std::abs(correlation(draws, 1)), 3.3 / std::sqrt(draws_per_test));
  const auto radius = collect([&](std::size_t i) { return std::abs(stream.normal(i)); });
  EXPECT_LT(std::abs(correlation(radius, 1)), 3.3 / std::sqrt(draws_per_test));
}

double chi_square(const std::vector<std::int64_t>& counts) {
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  const double expected = total / static_cast<double>(counts.size());
  double sum = 0;
  for (const auto count : counts)
    sum += (static_cast<double>(count) - expected) * (static_cast<double>(count) - expected);
  return sum / expected;
}

TEST(Stream, BelowStaysBelowAndIsUniform) {
  const Stream stream({.seed = 4});
  std::vector<std::int64_t> counts(7);
  for (std::uint64_t i = 0; i < 70'000; ++i) {
    const auto draw = stream.below(i, 7);
    ASSERT_LT(draw, 7u);
    ++counts[draw];
    ASSERT_EQ(stream.below(i, 1), 0u);
    ASSERT_LT(stream.below(i, (std::uint64_t{1} << 63) + 1), (std::uint64_t{1} << 63) + 1);
  }
  EXPECT_LT(chi_square(counts), 22.5);  // .999 quantile, 6 degrees of freedom
}

// A number per order of five elements.
std::size_t order_number(const std::vector<std::int64_t>& order) {
  std::size_t number = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    std::size_t smaller = 0;
    for (std::size_t j = i + 1; j < order.size(); ++j) smaller += order[j] < order[i];
    number = number * (order.size() - i) + smaller;
  }
  return number;
}

std::vector<std::int64_t> biased_permutation(const StreamId& id, std::int64_t n) {
  const Stream stream(id);
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::size_t i = 0; i < order.size(); ++i) std::swap(order[i], order[stream.below(i, order.size())]);
  return order;
}

template <class Permutation>
double chi_square_of_orders(Permutation make) {
  std::vector<std::int64_t> counts(120);
  for (std::uint64_t seed = 0; seed < 24'000; ++seed) ++counts[order_number(make(StreamId{.seed = seed}, 5))];
  return chi_square(counts);
}

TEST(Permutation, EveryOrderIsEquallyLikely) {
  constexpr double quantile = 172.5;  // .999, 119 degrees of freedom
  EXPECT_LT(chi_square_of_orders(permutation), quantile);
  // Negative control: the well-known wrong shuffle, which swaps with any element.
  EXPECT_GT(chi_square_of_orders(biased_permutation), quantile);
}

TEST(Permutation, HoldsEveryElementOnceAndIsPure) {
  const StreamId id{.seed = 6, .purpose = Purpose::sample_order, .epoch = 2};
  auto order = permutation(id, 10'000);
  EXPECT_EQ(order, permutation(id, 10'000));
  EXPECT_NE(order, permutation({.seed = 6, .purpose = Purpose::sample_order, .epoch = 3}, 10'000));
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < order.size(); ++i) ASSERT_EQ(order[i], static_cast<std::int64_t>(i));
  EXPECT_TRUE(permutation(id, 0).empty());
}

}  // namespace
}  // namespace spankey::stream_test
