#include "spankey/keys/injection.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "spankey/ops/cpu_level.h"
#include "spankey/ops/inject_op.h"

namespace spankey::injection_test {
namespace {

// What the reference implementation does, in ATen operations: the oracle of the fused kernels.
at::Tensor oracle(const at::Tensor& h, const at::Tensor& key, const InjectionKind& kind) {
  const at::Tensor k = key.to(h.scalar_type()).expand({h.size(0), -1}).reshape(h.sizes());
  if (kind.inject == Inject::add) return h + kind.gamma * k;
  if (kind.multiplier == Multiplier::exp) return h * at::exp(kind.gamma * at::tanh(k));
  if (kind.multiplier == Multiplier::sign) return h * at::tanh(5 * k);
  if (kind.multiplier == Multiplier::sym) return h * (1 + std::min(kind.gamma, 0.9) * at::tanh(k));
  return h * at::clamp(1 + kind.gamma * at::tanh(k), 0.1, 2.0);
}

struct ThreadCount {
  explicit ThreadCount(int n) : before(at::get_num_threads()) { at::set_num_threads(n); }
  ~ThreadCount() { at::set_num_threads(before); }
  int before;
};

const InjectionKind kinds[] = {{Inject::add, 0.7},
                               {Inject::mul, 0.5},
                               {Inject::mul, 2.0},
                               {Inject::mul, 0.5, Multiplier::exp},
                               {Inject::mul, 2.0, Multiplier::exp},
                               {Inject::mul, 0.5, Multiplier::sym},
                               {Inject::mul, 2.0, Multiplier::sym},
                               {Inject::mul, 0.5, Multiplier::sign}};

double tolerance(at::ScalarType type) {
  return type == at::kDouble ? 1e-13 : 1e-6;
}

void expect_close(const at::Tensor& a, const at::Tensor& b, double allowed) {
  ASSERT_EQ(a.sizes(), b.sizes());
  EXPECT_LE((a - b).abs().max().item<double>(), allowed * std::max(1.0, b.abs().max().item<double>()));
}

TEST(Injection, IsAnOperatorOfTheDispatcher) {
  const auto handle = c10::Dispatcher::singleton().findSchema({"spankey::inject", ""});
  ASSERT_TRUE(handle.has_value());
  EXPECT_TRUE(handle->hasKernelForDispatchKey(c10::DispatchKey::CPU));
  EXPECT_FALSE(c10::Dispatcher::singleton().findSchema({"spankey::no_such_operator", ""}).has_value());
}

TEST(Injection, WithoutAKeyReturnsItsArgument) {
  const at::Tensor h = at::randn({3, 5});
  EXPECT_TRUE(Injection::none().apply(0, h).is_same(h));
  const Injection other = Injection::of_keys({2}, {at::randn({1, 5})}, {});
  EXPECT_TRUE(other.apply(0, h).is_same(h));
  EXPECT_FALSE(other.apply(2, h).is_same(h));
}

TEST(Injection, FusedKernelsAgreeWithTheOracle) {
  at::manual_seed(1);
  for (const auto type : {at::kFloat, at::kDouble}) {
    for (const InjectionKind& kind : kinds) {
      for (const std::int64_t d : {1, 15, 16, 63, 784, 2049}) {
        for (const std::int64_t m : {1, 5, 32}) {
          const at::Tensor h = at::randn({7, d}, type), basis = at::randn({m, d});
          const at::Tensor alphas = at::rand({7, m}, type), one = at::rand({1, m}, type);
          const LayerBasis layer(basis);
          expect_close(Injection::of_alphas({0}, {alphas}, {layer}, kind).apply(0, h),
                       oracle(h, alphas.matmul(basis.to(type)), kind), 8 * tolerance(type));
          expect_close(Injection::of_alphas({0}, {one}, {layer}, kind).apply(0, h),
                       oracle(h, one.matmul(basis.to(type)), kind), 8 * tolerance(type));
          const at::Tensor keys = at::randn({7, d}, type);
          expect_close(Injection::of_keys({0}, {keys}, kind).apply(0, h), oracle(h, keys, kind), tolerance(type));
        }
      }
    }
  }
}

TEST(Injection, ChannelsLastTakesTheKeyInChannelRowColumnOrder) {
  at::manual_seed(2);
  const at::Tensor h = at::randn({4, 6, 5, 3}), basis = at::randn({3, 90}), alphas = at::rand({4, 3});
  const at::Tensor last = h.contiguous(at::MemoryFormat::ChannelsLast);
  for (const InjectionKind& kind : kinds) {
    for (const Injection& injection : {Injection::of_alphas({0}, {alphas}, {LayerBasis(basis)}, kind),
                                       Injection::of_keys({0}, {basis.narrow(0, 0, 1)}, kind)}) {
      const at::Tensor out = injection.apply(0, last);
      EXPECT_TRUE(out.is_contiguous(at::MemoryFormat::ChannelsLast));
      EXPECT_TRUE(out.equal(injection.apply(0, h)));
    }
  }
  // Negative control: the key in memory order would be another key.
  const at::Tensor wrong = last.permute({0, 2, 3, 1}).reshape({4, -1}) + basis.narrow(0, 0, 1);
  EXPECT_FALSE(wrong.view({4, 5, 3, 6}).permute({0, 3, 1, 2}).equal(h + basis.narrow(0, 0, 1).view({1, 6, 5, 3})));
}

TEST(Injection, StackedPassesEqualSeparateOnes) {
  at::manual_seed(3);
  const std::int64_t d = 6 * 4 * 4;
  const InjectionKind kind{Inject::mul, 0.5};
  const Injection correct = Injection::of_alphas({0, 1}, {at::rand({5, 4})},
                                                 {LayerBasis(at::randn({4, d})), LayerBasis(at::randn({4, d}))}, kind);
  const Injection wrong = Injection::of_keys({0}, {at::randn({1, d})}, kind);
  const Injection stacked = Injection::stack({{correct, 5}, {wrong, 3}, {Injection::none(), 2}});
  const at::Tensor h = at::randn({10, 6, 4, 4}).contiguous(at::MemoryFormat::ChannelsLast);
  for (const std::int64_t point : {0, 1}) {
    const at::Tensor separate =
        at::cat({correct.apply(point, h.narrow(0, 0, 5)), wrong.apply(point, h.narrow(0, 5, 3)), h.narrow(0, 8, 2)});
    EXPECT_TRUE(stacked.apply(point, h).equal(separate));
  }
  EXPECT_TRUE(stacked.apply(2, h).is_same(h));
}

TEST(Injection, GradientsAgreeWithTheOracle) {
  at::manual_seed(4);
  const at::Tensor upstream = at::randn({6, 40}, at::kDouble);
  for (const InjectionKind& kind : kinds) {
    for (const std::int64_t rows : {1, 6}) {
      const auto leaf = [](const at::Tensor& t) { return t.detach().clone().requires_grad_(); };
      const at::Tensor h0 = at::randn({6, 40}, at::kDouble), k0 = at::randn({rows, 40}, at::kDouble);
      at::Tensor h = leaf(h0), k = leaf(k0), h2 = leaf(h0), k2 = leaf(k0);
      (Injection::of_keys({0}, {k}, kind).apply(0, h) * upstream).sum().backward();
      (oracle(h2, k2, kind) * upstream).sum().backward();
      expect_close(h.grad(), h2.grad(), 1e-14);
      expect_close(k.grad(), k2.grad(), 1e-13);
    }
  }
}

// 1 + gamma tanh k lands on the bound itself, where torch's clamp passes the gradient.
TEST(Injection, TheGradientPassesAtABound) {
  const double k0 = 0.3, gamma = 1 / std::tanh(k0);
  ASSERT_EQ(1 + gamma * std::tanh(k0), multiplier_high);
  at::Tensor k = at::full({1, 1}, k0, at::kDouble).requires_grad_();
  const at::Tensor h = at::ones({1, 1}, at::kDouble);
  Injection::of_keys({0}, {k}, {Inject::mul, gamma}).apply(0, h).sum().backward();
  EXPECT_NEAR(k.grad().item<double>(), gamma / std::pow(std::cosh(k0), 2), 1e-12);
  at::Tensor beyond = at::full({1, 1}, std::nextafter(k0, 1.0) + 1e-12, at::kDouble).requires_grad_();
  Injection::of_keys({0}, {beyond}, {Inject::mul, gamma}).apply(0, h).sum().backward();
  EXPECT_EQ(beyond.grad().item<double>(), 0);
}

TEST(Injection, GradientsAgreeWithFiniteDifferences) {
  at::manual_seed(5);
  const at::Tensor h0 = at::randn({3, 7}, at::kDouble), k0 = 0.5 * at::randn({1, 7}, at::kDouble);
  const at::Tensor upstream = at::randn({3, 7}, at::kDouble);
  for (const InjectionKind& kind : kinds) {
    const auto value = [&](const at::Tensor& h, const at::Tensor& k) {
      return (Injection::of_keys({0}, {k}, kind).apply(0, h) * upstream).sum();
    };
    at::Tensor h = h0.clone().requires_grad_(), k = k0.clone().requires_grad_();
    value(h, k).backward();
    constexpr double step = 1e-6;
    for (std::int64_t i = 0; i < 7; ++i) {
      at::Tensor dk = at::zeros_like(k0), dh = at::zeros_like(h0);
      dk[0][i] = step;
      dh[1][i] = step;
      EXPECT_NEAR(k.grad()[0][i].item<double>(),
                  ((value(h0, k0 + dk) - value(h0, k0 - dk)) / (2 * step)).item<double>(), 1e-7);
      EXPECT_NEAR(h.grad()[1][i].item<double>(),
                  ((value(h0 + dh, k0) - value(h0 - dh, k0)) / (2 * step)).item<double>(), 1e-7);
    }
  }
}

TEST(Injection, TheGradientWithABasisIsThatOfTheWholeKey) {
  at::manual_seed(6);
  for (const auto type : {at::kFloat, at::kDouble}) {
    const at::Tensor basis = at::randn({4, 2 * 3 * 3}, type), alpha0 = at::rand({5, 4}, type);
    at::Tensor h = at::randn({5, 2, 3, 3}, type).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_();
    at::Tensor alpha = alpha0.clone().requires_grad_(), alpha2 = alpha0.clone().requires_grad_();
    at::Tensor h2 = h.detach().clone().requires_grad_();
    const InjectionKind kind{Inject::mul, 0.5};
    Injection::of_alphas({0}, {alpha}, {LayerBasis(basis)}, kind).apply(0, h).square().sum().backward();
    oracle(h2, alpha2.matmul(basis), kind).square().sum().backward();
    expect_close(h.grad(), h2.grad(), 4 * tolerance(type));
    expect_close(alpha.grad(), alpha2.grad(), 16 * tolerance(type));
  }
}

TEST(Injection, GammaZeroIsBitwiseTheIdentity) {
  const at::Tensor h = at::randn({9, 33});
  for (InjectionKind kind : kinds) {
    if (kind.multiplier == Multiplier::sign) continue;  // knows no gamma
    kind.gamma = 0;
    EXPECT_TRUE(Injection::of_keys({0}, {at::randn({9, 33})}, kind).apply(0, h).equal(h));
  }
  EXPECT_FALSE(Injection::of_keys({0}, {at::randn({9, 33})}, {Inject::mul, 1e-3}).apply(0, h).equal(h));
}

TEST(Injection, ThreadsDoNotChangeABit) {
  at::manual_seed(7);
  const at::Tensor h = at::randn({130, 3001});
  const Injection injection = Injection::of_alphas({0}, {at::rand({130, 9})}, {LayerBasis(at::randn({9, 3001}))}, {});
  at::Tensor one;
  {
    const ThreadCount threads(1);
    one = injection.apply(0, h);
  }
  for (const int n : {2, 3, 5}) {
    const ThreadCount threads(n);
    EXPECT_TRUE(injection.apply(0, h).equal(one)) << n;
  }
}

TEST(Injection, InstructionSetsDoNotChangeABit) {
  at::manual_seed(8);
  const at::Tensor h = at::randn({9, 333});
  const LayerBasis basis(at::randn({5, 333}));
  for (const InjectionKind& kind : kinds) {
    for (const Injection& injection :
         {Injection::of_alphas({0}, {at::rand({9, 5})}, {basis}, kind),
          Injection::of_alphas({0}, {at::rand({1, 5})}, {basis}, kind),
          Injection::of_keys({0}, {at::randn({9, 333})}, kind), Injection::of_keys({0}, {at::randn({1, 333})}, kind)}) {
      const at::Tensor best = injection.apply(0, h);
      for (const CpuLevel level : {CpuLevel::plain, CpuLevel::avx2, CpuLevel::avx512}) {
        limit_cpu_level(level);
        EXPECT_TRUE(injection.apply(0, h).equal(best));
      }
    }
  }
}

TEST(Injection, TanhIsAccurateAndNanStays) {
  const at::Tensor k = at::linspace(-12, 12, 200001).reshape({1, -1});
  const Injection injection = Injection::of_keys({0}, {k}, {Inject::mul, 0.45});
  const at::Tensor s = injection.apply(0, at::ones_like(k)).to(at::kDouble);
  EXPECT_LE((s - (1 + 0.45 * k.to(at::kDouble).tanh())).abs().max().item<double>(), 1.8e-7);
  const at::Tensor nan = at::full({1, 20}, std::numeric_limits<float>::quiet_NaN());
  for (const Multiplier multiplier : {Multiplier::clamp, Multiplier::exp, Multiplier::sym, Multiplier::sign})
    EXPECT_TRUE(Injection::of_keys({0}, {nan}, {Inject::mul, 0.5, multiplier})
                    .apply(0, at::ones({1, 20}))
                    .isnan()
                    .all()
                    .item<bool>());
  EXPECT_TRUE(Injection::of_keys({0}, {at::ones({1, 20})}, {}).apply(0, nan).isnan().all().item<bool>());
}

// s(k) in closed form, float64 by libm: what the three multipliers do far out, where the clamp alone cuts off.
TEST(Injection, MultipliersTakeTheirClosedForms) {
  const at::Tensor k = at::linspace(-12, 12, 20001).reshape({1, -1});
  const at::Tensor t = k.to(at::kDouble).tanh();
  const auto multiplier = [&](Multiplier kind, double gamma) {
    return Injection::of_keys({0}, {k}, {Inject::mul, gamma, kind}).apply(0, at::ones_like(k)).to(at::kDouble);
  };
  for (const double gamma : {0.3, 2.0, 6.0}) {
    const at::Tensor e = multiplier(Multiplier::exp, gamma);
    EXPECT_LE((e / (gamma * t).exp() - 1).abs().max().item<double>(), 4e-7 * (1 + gamma)) << gamma;
    const at::Tensor s = multiplier(Multiplier::sym, gamma);
    EXPECT_LE((s - (1 + std::min(gamma, 0.9) * t)).abs().max().item<double>(), 4e-7);
    EXPECT_GT(s.min().item<double>(), 0.099);
  }
  const at::Tensor sign = multiplier(Multiplier::sign, 0.5);
  EXPECT_LE((sign - (5 * k.to(at::kDouble)).tanh()).abs().max().item<double>(), 5e-7);
  EXPECT_TRUE(sign.equal(multiplier(Multiplier::sign, 2.0)));
  EXPECT_LT(multiplier(Multiplier::exp, 6.0).min().item<double>(), 0.003);  // not cut off at 0.1
  EXPECT_GT(multiplier(Multiplier::exp, 6.0).max().item<double>(), 400.0);  // nor at 2
  EXPECT_FLOAT_EQ(multiplier(Multiplier::clamp, 6.0).max().item<float>(), 2.0f);
  // Symmetric, as far as the grid is: sym about 1, exp about 1 in the logarithm; the clamp is neither.
  const at::Tensor sym = multiplier(Multiplier::sym, 2.0), exp = multiplier(Multiplier::exp, 2.0);
  EXPECT_LE((sym + sym.flip(1) - 2).abs().max().item<double>(), 2e-6);
  EXPECT_LE((exp * exp.flip(1) - 1).abs().max().item<double>(), 4e-6);
  const at::Tensor clamp = multiplier(Multiplier::clamp, 2.0);
  EXPECT_GT((clamp + clamp.flip(1) - 2).abs().max().item<double>(), 0.05);
  // Beyond what float holds the exponent is limited instead of overflowing.
  EXPECT_TRUE(multiplier(Multiplier::exp, 500.0).isfinite().all().item<bool>());
}

// With 16 rows of the basis or more the multiplier is kept, with fewer it is formed again, and results past the caches
// take another way out: all must agree with the oracle, for every part of a stack.
TEST(Injection, TheWayBackOfAStackAgreesWithTheOracle) {
  at::manual_seed(9);
  for (const auto& [m, d] : {std::pair{4, 96}, {15, 96}, {16, 96}, {32, 96}, {32, 40000}, {8, 40007}}) {
    for (const InjectionKind& kind : {kinds[0], kinds[2], kinds[4], kinds[6], kinds[7]}) {
      const std::int64_t rows = d > 96 ? 110 : 5;
      const at::Tensor basis = at::randn({m, d}), alphas = at::rand({rows, m}), one = at::rand({1, m}),
                       key = at::randn({1, d});
      const Injection stack = Injection::stack({{Injection::of_alphas({0}, {alphas}, {LayerBasis(basis)}, kind), rows},
                                                {Injection::none(), 2},
                                                {Injection::of_alphas({0}, {one}, {LayerBasis(basis)}, kind), 3},
                                                {Injection::of_keys({0}, {key}, kind), 4}});
      const double idle = kind.multiplier == Multiplier::sign ? 100.0 : 0.0;  // a key that changes nothing
      const at::Tensor keys =
          at::cat({alphas.matmul(basis), at::full({2, d}, idle), one.matmul(basis).expand({3, d}), key.expand({4, d})});
      const at::Tensor h0 = at::randn({rows + 9, d}), upstream = at::randn({rows + 9, d});
      at::Tensor h = h0.clone().requires_grad_(), h2 = h0.clone().requires_grad_();
      const at::Tensor out = stack.apply(0, h), expected = oracle(h2, keys, kind);
      const double allowed = kind.multiplier == Multiplier::sign ? 1e-4 : 2e-5;  // five times as steep
      expect_close(out, expected, allowed);
      out.backward(upstream);
      expected.backward(upstream);
      expect_close(h.grad(), h2.grad(), allowed);
    }
  }
}

TEST(Injection, AnObserverSeesBothSides) {
  int calls = 0;
  const at::Tensor h = at::ones({2, 3});
  const Injection injection = Injection::of_keys({1}, {at::ones({1, 3})}, {Inject::add, 2.0})
                                  .observed([&](std::int64_t point, const at::Tensor& before, const at::Tensor& after) {
                                    EXPECT_TRUE(before.is_same(h));
                                    EXPECT_TRUE(after.equal(h + (point == 1 ? 2 : 0)));
                                    ++calls;
                                  });
  injection.apply(0, h);
  injection.apply(1, h);
  EXPECT_EQ(calls, 2);
}

TEST(Injection, KeysOfAnotherWidthAreRefused) {
  EXPECT_ANY_THROW(Injection::of_keys({0}, {at::ones({1, 4})}, {}).apply(0, at::ones({2, 5})));
  EXPECT_ANY_THROW(Injection::of_keys({0}, {at::ones({3, 5})}, {}).apply(0, at::ones({2, 5})));
  EXPECT_ANY_THROW(Injection::stack({{Injection::of_keys({0}, {at::ones({1, 5})}, {}), 3}}).apply(0, at::ones({2, 5})));
}

}  // namespace
}  // namespace spankey::injection_test
