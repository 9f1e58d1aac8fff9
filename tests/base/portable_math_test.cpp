#include "base/portable_math.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/digest.h"

namespace spankey::portable_math_test {
namespace {

// The distance of `value` from the exact result, in units of the last place of the larger of |exact| and `floor`.
double error_ulp(float value, long double exact, float floor = std::numeric_limits<float>::min()) {
  const float scale = std::max(std::abs(static_cast<float>(exact)), floor);
  const int exponent = std::ilogb(scale);
  return static_cast<double>(std::abs(static_cast<long double>(value) - exact) / std::ldexp(1.0L, exponent - 23));
}

// Calls `visit` with floats spread evenly over the bit patterns from `low` to `high` (both positive).
template <class Visit>
void sweep(float low, float high, Visit visit) {
  const auto first = std::bit_cast<std::uint32_t>(low), last = std::bit_cast<std::uint32_t>(high);
  const std::uint32_t step = std::max(1u, (last - first) / 1'500'000u) | 1u;
  for (std::uint32_t bits = first; bits <= last && bits >= first; bits += step) visit(std::bit_cast<float>(bits));
}

TEST(PortableMath, LogWithinOneUlp) {
  double worst = 0;
  sweep(std::numeric_limits<float>::min(), std::numeric_limits<float>::max(),
        [&](float x) { worst = std::max(worst, error_ulp(portable::log(x), std::log(static_cast<long double>(x)))); });
  sweep(0.5f, 2.0f, [&](float x) {  // where the logarithm is small
    worst = std::max(worst, error_ulp(portable::log(x), std::log(static_cast<long double>(x))));
  });
  RecordProperty("worst_ulp", std::to_string(worst));
  EXPECT_LE(worst, 1.0);
  EXPECT_EQ(portable::log(1.0f), 0.0f);
}

TEST(PortableMath, SineAndCosineWithinTwoUlp) {
  double worst = 0;
  const long double two_pi = 2 * std::acos(-1.0L);
  const auto visit = [&](float u) {
    float sine, cosine;
    portable::sincos_2pi(u, sine, cosine);
    worst = std::max(worst, error_ulp(sine, std::sin(two_pi * static_cast<long double>(u)), 0.125f));
    worst = std::max(worst, error_ulp(cosine, std::cos(two_pi * static_cast<long double>(u)), 0.125f));
  };
  for (std::int32_t k = 0; k < (1 << 24); k += 7) visit(static_cast<float>(k) * 0x1p-24f);
  sweep(1e-9f, 1e5f, [&](float u) {
    visit(u);
    visit(-u);
  });
  RecordProperty("worst_ulp", std::to_string(worst));
  EXPECT_LE(worst, 2.0);
}

// The bits themselves: this digest must come out on every machine, whatever its libm and its instruction set.
TEST(PortableMath, SameBitsEverywhere) {
  Sha256 hash;
  const auto add = [&hash](float value) { hash.update_int64(std::bit_cast<std::int32_t>(value)); };
  for (std::int32_t k = 1; k < 20'000; ++k) {
    const float x = static_cast<float>(k) * 0x1.04p-10f;
    float sine, cosine, z0, z1;
    portable::sincos_2pi(x, sine, cosine);
    portable::normal_pair(static_cast<std::uint32_t>(k) * 2654435761u, static_cast<std::uint32_t>(k) * 40503u, z0, z1);
    for (const float value : {portable::log(x), sine, cosine, z0, z1}) add(value);
  }
  EXPECT_EQ(to_hex(hash.finish()), "204f8461caeb28d64604f508d58ed909e748a01caf2792214b2999d0891bf71e");
}

}  // namespace
}  // namespace spankey::portable_math_test
