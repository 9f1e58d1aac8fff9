#include "keyring/trace.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/statistics.h"
#include "key_owner.h"
#include "support/expect_error.h"

namespace spankey::trace_test {
namespace {

using test::KeyOwner, test::mosaic, test::normals;
using testing::HasSubstr;

constexpr std::int64_t m = 8;

KeyConfig config() {
  KeyConfig c;
  c.m = m;
  return c;
}

// As wide as the second key of small_cnn.
const KeyOwner& owner() {
  static const KeyOwner made(config(), {1568});
  return made;
}

at::Tensor keys_of(std::uint64_t first, std::uint64_t count) {
  std::vector<at::Tensor> rows;
  for (std::uint64_t serial = first; serial < first + count; ++serial) rows.push_back(owner().key(serial));
  return at::stack(rows);
}

TraceReport traced(const at::Tensor& key, std::span<const KeyHolder> users, double epsilon = 1e-3) {
  const FoundKey found{.site = 0, .key = key};
  return trace(owner().keys(), users, {&found, 1}, epsilon);
}

std::vector<std::uint64_t> named(const TraceReport& report) {
  std::vector<std::uint64_t> serials;
  for (const auto& user : report.users)
    if (user.named()) serials.push_back(user.serial);
  std::sort(serials.begin(), serials.end());
  return serials;
}

std::vector<std::uint64_t> serials(std::uint64_t first, std::uint64_t count) {
  std::vector<std::uint64_t> result(count);
  std::iota(result.begin(), result.end(), first);
  return result;
}

// Free keys as a search by gradients makes them: a quarter of the energy in the span, for which chance alone would give
// m / d = .005, and the rest anywhere.
at::Tensor free_key(std::uint64_t number) {
  const at::Tensor valid = owner().basis().layers[0].to(at::kDouble).sum(0);
  at::Tensor other = normals(valid.numel(), number).to(at::kDouble);
  remove_span(owner().keys().spans()[0], {other.mutable_data_ptr<double>(), static_cast<std::size_t>(other.numel())});
  return 0.5 * valid / valid.norm() + std::sqrt(0.75) * other / other.norm();
}

TEST(Trace, ScoresOfTheInnocentAreStandardNormal) {
  const auto report = traced(keys_of(1, 3).mean(0), owner().users(10, 2000));
  std::vector<double> z;
  for (const auto& user : report.users) z.push_back(user.sites[0].z);
  EXPECT_GT(ks_p_value(ks_statistic(z, normal_cdf), std::ssize(z)), 0.01);
  EXPECT_TRUE(named(report).empty());
  // The control: scores that spread a quarter more are seen.
  for (double& value : z) value *= 1.25;
  EXPECT_LT(ks_p_value(ks_statistic(z, normal_cdf), std::ssize(z)), 0.01);
}

// Expected: sqrt((d - m) / c) for each of c keys of which the mean was taken.
TEST(Trace, ColludersWhoseKeysWereAveragedScoreAsTheorySays) {
  for (const std::uint64_t c : {1U, 2U, 5U, 10U, 20U}) {
    std::vector<double> means;
    for (std::uint64_t draw = 0; draw < 20; ++draw) {
      const std::uint64_t first = 1000 * c + draw * c;
      const auto report = traced(keys_of(first, c).mean(0), owner().users(first, c));
      EXPECT_EQ(report.verdict, c == 1 ? TraceVerdict::exact : TraceVerdict::named);
      EXPECT_EQ(named(report), serials(first, c)) << c << " colluders";
      double sum = 0;
      for (const auto& user : report.users) sum += user.sites[0].z;
      means.push_back(sum / static_cast<double>(c));
    }
    const auto summary = summarise(means);
    const double expected = std::sqrt((1568.0 - m) / static_cast<double>(c));
    EXPECT_NEAR(summary.mean, expected, 3 * summary.sd / std::sqrt(20.0) + 1e-4) << c << " colluders";
  }
}

// Four users, a hundred thousand found keys with which they have nothing to do. Expected: each z is above the threshold
// with the probability p of an angle between random directions of d - m dimensions, so that somebody is accused with
// 1 - (1 - p)^4, which has to stay below epsilon.
TEST(Trace, TheInnocentAreAccusedAsRarelyAsPromised) {
  constexpr std::int64_t users = 4, width = 24;
  constexpr std::uint64_t trials = 100'000;
  constexpr double epsilon = 0.05;
  const double threshold = trace_z_threshold(epsilon, users);
  const double p = std::exp(log_cosine_tail(width - m, threshold / std::sqrt(width - m)));
  const double expected = 1 - std::pow(1 - p, users);
  EXPECT_LE(expected, epsilon);
  const at::Tensor span = orthonormal_rows(normals(m * width, 1).reshape({m, width}).to(at::kDouble));
  std::vector<double> fingerprint(width), found(width);
  std::int64_t accused = 0;
  for (std::uint64_t trial = 0; trial < trials; ++trial) {
    draw_fingerprint({trial, 0}, 0, span, found);
    bool anybody = false;
    for (std::uint64_t user = 1; user <= users; ++user) {
      draw_fingerprint({trial, user}, 0, span, fingerprint);
      const double cosine = std::inner_product(found.begin(), found.end(), fingerprint.begin(), 0.0);
      anybody = anybody || std::sqrt(width - m) * cosine > threshold;
    }
    accused += anybody;
  }
  EXPECT_NEAR(static_cast<double>(accused) / static_cast<double>(trials), expected,
              3 * std::sqrt(expected / static_cast<double>(trials)));
  EXPECT_LE(static_cast<double>(accused) / static_cast<double>(trials), epsilon);
}

// 4.9 for 2,000 users at one in a thousand is the figure that an independent program in NumPy was given.
TEST(Trace, TheThresholdGrowsWithTheUsers) {
  EXPECT_NEAR(trace_z_threshold(1e-3, 2000), 4.9, 0.02);
  EXPECT_NEAR(trace_z_threshold(0.05, 1), 1.6449, 1e-4);
}

TEST(Trace, FreeKeysAreForgedHoweverFarTheirSpanEnergyIsAboveChance) {
  const auto users = owner().users(1, 50);
  for (std::uint64_t number = 1; number <= 20; ++number) {
    const auto report = traced(free_key(number), users);
    EXPECT_EQ(report.verdict, TraceVerdict::forged) << "key " << number;
    EXPECT_NEAR(report.span_energy, 0.25, 1e-9);
  }
}

TEST(Trace, OneUsersKeyIsExactInEveryRoundingAndStrength) {
  const auto users = owner().users(1, 5);
  const at::Tensor key = owner().key(3);
  for (const at::Tensor& found : {key, 2.5 * key, key.to(at::kHalf), key.to(at::kBFloat16)}) {
    const auto report = traced(found, users);
    EXPECT_EQ(report.verdict, TraceVerdict::exact);
    EXPECT_EQ(named(report), serials(3, 1));
    EXPECT_NEAR(report.users[0].sites[0].alpha_cosine, 1, 1e-5);
    EXPECT_NEAR(report.span_energy, 0.9, 1e-4);
  }
  // Noise of a thousandth of the energy: still named, no longer exact.
  const at::Tensor noise = normals(1568, 5);
  const auto noisy = traced(key + noise * (std::sqrt(1e-3) * key.norm() / noise.norm()), users);
  EXPECT_EQ(noisy.verdict, TraceVerdict::named);
  EXPECT_EQ(named(noisy), serials(3, 1));
}

TEST(Trace, AMosaicOfThreeAndOfFiveKeysNamesAllAndNobodyElse) {
  const auto innocent = owner().users(1, 1000);
  for (const std::uint64_t c : {3U, 5U}) {
    auto users = innocent;
    const auto guilty = owner().users(2001, c);
    users.insert(users.end(), guilty.begin(), guilty.end());
    const auto report = traced(mosaic(keys_of(2001, c), c), users);
    EXPECT_EQ(report.verdict, TraceVerdict::named);
    EXPECT_EQ(named(report), serials(2001, c));
    for (std::size_t i = 0; i < c; ++i)
      EXPECT_NEAR(report.users[i].sites[0].match, 1.0 / static_cast<double>(c), 0.05) << c << " colluders";
  }
}

// Each coordinate of a mosaic has one user's fingerprint, so that its scalar product with that of any of c users is
// 1/c of a key's, beside all that mixing the keys has put outside the span. Expected: z = sqrt((d - m) phi / (1 - rho))
// / c. That is 4 to 5 for five keys, about the threshold of 2,000 users: z alone loses a mosaic.
TEST(Trace, AMosaicScoresAsTheorySays) {
  std::vector<double> excess, z;
  for (std::uint64_t draw = 0; draw < 20; ++draw) {
    const std::uint64_t first = 1000 + 5 * draw;
    const auto report = traced(mosaic(keys_of(first, 5), draw), owner().users(first, 5));
    const double expected = std::sqrt((1568.0 - m) * 0.1 / (1 - report.span_energy)) / 5;
    for (const auto& user : report.users) {
      z.push_back(user.sites[0].z);
      excess.push_back(user.sites[0].z - expected);
    }
  }
  const auto summary = summarise(excess);
  EXPECT_NEAR(summary.mean, 0, 3 * summary.sd / std::sqrt(static_cast<double>(summary.count)));
  EXPECT_LT(summarise(z).mean, trace_z_threshold(1e-3, 2000) + 0.1);
}

// What is promised ends here, and the report says so instead of naming an innocent user.
TEST(Trace, AMosaicWithNoiseIsNotNamedAndTheLimitsSayIt) {
  constexpr std::uint64_t c = 20;
  auto users = owner().users(1, 200);
  const auto guilty = owner().users(2001, c);
  users.insert(users.end(), guilty.begin(), guilty.end());
  const at::Tensor clean = mosaic(keys_of(2001, c), 1), noise = normals(1568, 9);
  for (const double strength : {0.01, 0.03}) {
    const auto report = traced(clean * (1 + strength * noise), users);
    EXPECT_LT(named(report).size(), c / 4);
    for (const auto serial : named(report)) EXPECT_GT(serial, 2000U) << "an innocent user";
  }
  const auto report = traced(clean * (1 + 0.03 * noise), users);
  EXPECT_TRUE(named(report).empty());
  EXPECT_EQ(report.verdict, report.span_energy < 0.5 ? TraceVerdict::forged : TraceVerdict::too_many);
  const auto limits = trace_limits(m, 1568, 0.1, std::ssize(users), report.epsilon);
  EXPECT_LT(limits.noisy_mosaic, static_cast<std::int64_t>(c));
  EXPECT_GE(limits.noisy_mosaic, 1);
  EXPECT_GE(limits.mosaic_keys, static_cast<std::int64_t>(c)) << "without noise it would have named them";
  EXPECT_EQ(named(traced(clean, users)), serials(2001, c));
}

// A window of coordinates that innocent keys share by chance: the bound holds, with room, at a level that can be
// counted.
TEST(Trace, TheInnocentRepeatFewCoordinates) {
  constexpr double p = 0.02;
  constexpr std::uint64_t users = 500;
  std::int64_t above = 0;
  for (std::uint64_t draw = 0; draw < 4; ++draw) {
    const auto report = traced(mosaic(keys_of(3000 + 5 * draw, 5), draw), owner().users(1, users));
    for (const auto& user : report.users) {
      const auto& site = user.sites[0];
      above += site.match * 1568 > static_cast<double>(trace_match_threshold(1568, site.cosine, p)) - 0.5;
    }
  }
  EXPECT_LE(static_cast<double>(above), p * 4 * users);
}

TEST(Trace, AKeyWithoutAnyFingerprintWasMadeWithTheBasis) {
  const auto users = owner().users(1, 50);
  const at::Tensor valid = users[0].alphas[0].matmul(owner().basis().layers[0]);
  const auto report = traced(valid, users);
  EXPECT_EQ(report.verdict, TraceVerdict::too_many);
  EXPECT_TRUE(report.bare_span);
  EXPECT_FALSE(traced(keys_of(1, 50).mean(0), users).bare_span) << "the mean of everybody's key";
}

TEST(Trace, SitesAreTriedOneByOne) {
  auto two = config();
  two.layout = Layout::per_layer;
  const KeyOwner pair(two, {400, 300});
  const auto users = pair.users(1, 20);
  const std::vector<FoundKey> found = {{0, pair.key(4, 0)}, {1, pair.key(7, 1)}};
  const auto report = trace(pair.keys(), users, found);
  EXPECT_EQ(report.verdict, TraceVerdict::named) << "no one user's key";
  EXPECT_EQ(named(report), (std::vector<std::uint64_t>{4, 7}));
  EXPECT_EQ(trace(pair.keys(), users, std::span(found).first(1)).verdict, TraceVerdict::exact);
  EXPECT_NEAR(report.z_threshold, trace_z_threshold(0.99e-3, 40), 1e-12);
}

TEST(Trace, WhatIsNoKeyIsRefused) {
  const auto users = owner().users(1, 2);
  EXPECT_ERROR(traced(at::zeros({1568}), users), ExitCode::bad_input, HasSubstr("is zero; accepted"));
  EXPECT_ERROR(traced(at::full({1568}, std::nan("")), users), ExitCode::bad_input, HasSubstr("not finite"));
  EXPECT_ERROR(traced(at::ones({100}), users), ExitCode::bad_input, HasSubstr("has 100 elements; accepted: 1568"));
}

}  // namespace
}  // namespace spankey::trace_test
