// The bodies of the CUDA kernel of spankey::inject, run on the host against composed ATen operations.
#include "spankey/ops/inject_body.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "spankey/ops/inject_parts.h"

namespace spankey::inject_body_test {
namespace {

constexpr int rows = 4;

// A whole matrix the way the kernel takes it: thread by thread, the coefficients in chunks. `basis` may be empty.
template <InjectMode mode, class T, int width>
at::Tensor by_bodies(const at::Tensor& h, const at::Tensor& coefficients, const at::Tensor& basis, float gamma) {
  at::Tensor out = at::empty_like(h);
  const std::int64_t d = h.size(1), m = coefficients.size(1), chunk = 3;
  for (std::int64_t column = 0; column < d; column += width) {
    inject_body::Keys<rows, width> keys = {};
    if (basis.numel() == 0) {
      for (int r = 0; r < rows; ++r)
        for (int i = 0; i < width; ++i) keys.values[r][i] = coefficients.const_data_ptr<float>()[r * d + column + i];
    }
    for (std::int64_t q = 0; basis.numel() > 0 && q < m; q += chunk) {
      const float* of_rows[rows];
      for (int r = 0; r < rows; ++r) of_rows[r] = coefficients.const_data_ptr<float>() + r * m + q;
      inject_body::add_products(of_rows, basis.const_data_ptr<float>() + q * d + column, d, std::min(chunk, m - q),
                                keys);
    }
    for (std::int64_t r = 0; r < rows; ++r)
      inject_body::apply_row<mode>(h.const_data_ptr<T>() + r * d + column, out.mutable_data_ptr<T>() + r * d + column,
                                   keys.values[r], gamma);
  }
  return out;
}

at::Tensor composed(InjectMode mode, const at::Tensor& h, const at::Tensor& k, double gamma) {
  const at::Tensor t = k.tanh();
  switch (mode) {
    case InjectMode::add:
      return h + gamma * k;
    case InjectMode::clamp:
      return h * (1 + gamma * t).clamp(0.1, 2.0);
    case InjectMode::exp:
      return h * (gamma * t).exp();
    case InjectMode::sym:
      return h * (1 + std::min(gamma, 0.9) * t);
    case InjectMode::sign:
      return h * (5 * k).tanh();
    case InjectMode::product:
      return h * k;
  }
  return {};
}

struct Inputs {
  explicit Inputs(std::int64_t d) {
    at::manual_seed(3);
    h = at::randn({rows, d});
    coefficients = at::randn({rows, 8});
    basis = at::randn({8, d});
    keys = coefficients.to(at::kDouble).matmul(basis.to(at::kDouble));
  }
  at::Tensor h, coefficients, basis, keys;
};

double distance(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b).abs().max().item<double>();
}

template <InjectMode mode>
void expect_composed(double gamma) {
  const auto strength = static_cast<float>(effective_gamma(mode, gamma));
  const at::Tensor none = at::empty({0});
  const Inputs wide(24), odd(7);
  const at::Tensor expected = composed(mode, wide.h.to(at::kDouble), wide.keys, gamma);
  const double tolerance = 4e-6 * expected.abs().max().item<double>();
  EXPECT_LT(distance(by_bodies<mode, float, 4>(wide.h, wide.coefficients, wide.basis, strength), expected), tolerance);
  EXPECT_LT(distance(by_bodies<mode, float, 4>(wide.h, wide.keys.to(at::kFloat), none, strength), expected), tolerance);
  EXPECT_GT(distance(by_bodies<mode, float, 4>(wide.h, wide.coefficients + 0.01, wide.basis, strength), expected),
            tolerance);

  const at::Tensor odd_expected = composed(mode, odd.h.to(at::kDouble), odd.keys, gamma);
  EXPECT_LT(distance(by_bodies<mode, float, 1>(odd.h, odd.coefficients, odd.basis, strength), odd_expected), tolerance);

  // bfloat16 in and out, one rounding: half a unit in the last of its 8 bits.
  const at::Tensor half = wide.h.to(at::kBFloat16);
  const at::Tensor exact = composed(mode, half.to(at::kDouble), wide.keys, gamma);
  const at::Tensor out = by_bodies<mode, c10::BFloat16, 8>(half, wide.coefficients, wide.basis, strength);
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(((out.to(at::kDouble) - exact).abs() <= exact.abs() * 0x1.01p-8 + tolerance).all().item<bool>());
}

TEST(InjectBody, AgreesWithComposedOperationsInEveryMode) {
  for (const double gamma : {0.5, 2.0}) {
    expect_composed<InjectMode::add>(gamma);
    expect_composed<InjectMode::clamp>(gamma);
    expect_composed<InjectMode::exp>(gamma);
    expect_composed<InjectMode::sym>(gamma);
    expect_composed<InjectMode::sign>(gamma);
    expect_composed<InjectMode::product>(gamma);
  }
}

// h' from the factors that a thread forms by itself, row by row in sets of `rows`.
template <int width>
at::Tensor by_factors(const at::Tensor& h, const at::Tensor& coefficients, const at::Tensor& basis, double gamma,
                      InjectMode mode) {
  const std::int64_t n = h.size(0), d = h.size(1);
  const auto source = key_source(coefficients, basis, n, d, gamma, mode, h.device());
  EXPECT_TRUE(coefficients.numel() == 0 || reads_whole_packs(source, width));
  at::Tensor out = at::empty_like(h);
  for (std::int64_t first = 0; first < n; first += rows)
    for (std::int64_t column = 0; column < d; column += width) {
      const auto factors = inject_body::factors_of<rows, width>(source, first, column);
      for (std::int64_t r = 0; r < rows && first + r < n; ++r)
        for (int i = 0; i < width; ++i) {
          const std::int64_t at = (first + r) * d + column + i;
          const float value = h.const_data_ptr<float>()[at], s = factors.values[r][i];
          out.mutable_data_ptr<float>()[at] = mode == InjectMode::add ? value + s : value * s;
        }
    }
  return out;
}

TEST(InjectBody, FactorsOfOneThreadAreThoseOfEveryKindOfKey) {
  at::manual_seed(4);
  const std::int64_t n = 7, d = 24;  // not whole sets of rows
  const at::Tensor h = at::randn({n, d}), basis = at::randn({8, d}), none = at::empty({0});
  const at::Tensor own = at::randn({n, 8}), shared = at::randn({1, 8});
  const auto product = [&](const at::Tensor& a) { return a.to(at::kDouble).matmul(basis.to(at::kDouble)); };
  for (const auto mode :
       {InjectMode::add, InjectMode::clamp, InjectMode::exp, InjectMode::sym, InjectMode::sign, InjectMode::product}) {
    for (const double gamma : {0.5, 2.0}) {
      const auto expect = [&](const at::Tensor& coefficients, const at::Tensor& of, const at::Tensor& keys) {
        const at::Tensor expected = composed(mode, h.to(at::kDouble), keys, gamma);
        const double tolerance = 4e-6 * expected.abs().max().item<double>();
        EXPECT_LT(distance(by_factors<8>(h, coefficients, of, gamma, mode), expected), tolerance);
        EXPECT_LT(distance(by_factors<1>(h, coefficients, of, gamma, mode), expected), tolerance);
      };
      expect(own, basis, product(own));
      expect(shared, basis, product(shared));
      expect(product(own).to(at::kFloat), none, product(own));
      expect(product(shared).to(at::kFloat), none, product(shared));
      EXPECT_TRUE(at::equal(by_factors<4>(h, none, none, gamma, mode), h));
    }
  }
}

TEST(InjectBody, PacksAreReadOnlyWhereTheyAreAligned) {
  const at::Tensor keys = at::randn({2, 16}), none = at::empty({0});
  const auto source = key_source(keys, none, 2, 16, 1.0, InjectMode::add, keys.device());
  EXPECT_TRUE(reads_whole_packs(source, 8));
  EXPECT_FALSE(reads_whole_packs(source, 3));
  const at::Tensor shifted = at::randn({33}).narrow(0, 1, 32).view({2, 16});
  EXPECT_FALSE(reads_whole_packs(key_source(shifted, none, 2, 16, 1.0, InjectMode::add, keys.device()), 8));
  EXPECT_THROW(key_source(keys, none, 3, 16, 1.0, InjectMode::add, keys.device()), c10::Error);
}

TEST(InjectBody, ExponentIsBoundedAndNanIsKept) {
  EXPECT_NEAR(inject_body::factor<InjectMode::exp>(9.0F, 1000.0F) / 0x1p126, 1.0, 1e-4);
  EXPECT_NEAR(inject_body::factor<InjectMode::exp>(-9.0F, 1000.0F) * 0x1p126, 1.0, 1e-4);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(inject_body::factor<InjectMode::clamp>(nan, 0.5F)));
  EXPECT_TRUE(std::isnan(inject_body::factor<InjectMode::exp>(nan, 0.5F)));
}

}  // namespace
}  // namespace spankey::inject_body_test
