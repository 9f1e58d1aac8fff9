// Features that change places as the signs of a key say.
#include "spankey/keys/permutation.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "spankey/keys/key_maker.h"
#include "spankey/ops/permute_op.h"

namespace spankey::permutation_test {
namespace {

std::vector<std::int64_t> values_of(const at::Tensor& order) {
  const auto* first = order.const_data_ptr<std::int64_t>();
  return {first, first + order.numel()};
}

// Two layers of keys, one of them with zeros of both signs.
std::vector<at::Tensor> small_key() {
  return {at::tensor({0.5, -0.25, 0.0, -1.0, 2.0, -3.0, 1.0, 1.0, -0.5, 4.0}).to(at::kFloat).view({1, -1}),
          at::tensor({-1.0, 2.0, -0.0}).to(at::kFloat).view({1, -1})};
}

// The numbers come from a program of forty lines of Python: hashlib's SHA-256, Philox4x32-10 written out (checked with
// Random123's answer for zeros), and the shuffle of base/stream.h.
TEST(Permutation, IsTheShuffleOfASeedThatTheSignsTell) {
  auto key = small_key();
  EXPECT_EQ(sign_seed(key), 0x526044e0f5ec15cdU);
  const Permutation made(sign_seed(key), {{1, Moves::channels}, {2, Moves::elements}});
  EXPECT_EQ(values_of(made.order(2, at::zeros({4, 12}))),
            (std::vector<std::int64_t>{1, 3, 9, 11, 10, 2, 4, 5, 8, 6, 0, 7}));
  EXPECT_EQ(values_of(made.order(1, at::zeros({4, 5, 1, 1}))), (std::vector<std::int64_t>{2, 1, 4, 3, 0}));
  EXPECT_TRUE(made.at(1) && made.at(2));
  EXPECT_FALSE(made.at(0));
  // Sizes do not matter, one sign does.
  key[0] = key[0] * 17;
  EXPECT_EQ(sign_seed(key), 0x526044e0f5ec15cdU);
  key[1][0][1] = -2.0;
  EXPECT_EQ(sign_seed(key), 0x22019df3c3178e6eU);
  EXPECT_EQ(values_of(Permutation(sign_seed(key), {{2, Moves::elements}}).order(2, at::zeros({1, 12}))),
            (std::vector<std::int64_t>{6, 4, 11, 9, 0, 10, 7, 5, 3, 8, 2, 1}));
  EXPECT_ANY_THROW(sign_seed({at::tensor({1.0F, -1.0F, 1.0F, 1.0F}).view({2, 2})}));  // two keys, two permutations
}

// What moves is decided by ATen's own indexing of the dimension in question.
TEST(Permutation, MovesChannelsElementsOrTheNumbersOfTokens) {
  at::manual_seed(1);
  const Permutation made(7, {{0, Moves::channels}, {1, Moves::elements}, {2, Moves::numbers}});
  const auto order = [](std::int64_t point, std::int64_t n) {
    return at::tensor(
        permutation({.seed = 7, .purpose = Purpose::key_permutation, .layer = static_cast<std::uint32_t>(point)}, n));
  };
  const auto moved = [&](std::int64_t point, const at::Tensor& h) {
    return permute_elements(h, {made.order(point, h)}, {h.size(0)});
  };
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const at::Tensor h = at::randn({3, 4, 5, 2}).to(type), tokens = at::randn({3, 5, 6}).to(type);
    const at::Tensor channels = h.index_select(1, order(0, 4));
    const at::Tensor elements = h.flatten(1).index_select(1, order(1, 40)).view_as(h);
    for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
      const at::Tensor in = h.contiguous(format);
      EXPECT_TRUE(moved(0, in).equal(channels));
      EXPECT_TRUE(moved(1, in).equal(elements));
      EXPECT_EQ(moved(1, in).strides(), in.strides());
    }
    EXPECT_TRUE(moved(2, tokens).equal(tokens.index_select(2, order(2, 6))));
  }
}

TEST(Permutation, TheGradientGoesBackToWhereAnElementCameFrom) {
  at::manual_seed(2);
  const Permutation made(9, {{0, Moves::elements}});
  const at::Tensor h0 = at::randn({5, 2, 3, 2}, at::kDouble).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor upstream = at::randn({5, 2, 3, 2}, at::kDouble), none = at::empty({0}, at::kLong);
  const auto value = [&](const at::Tensor& h) {  // three rows move, two stay
    return (permute_elements(h, {made.order(0, h), none}, {3, 2}).pow(3) * upstream).sum();
  };
  at::Tensor h = h0.clone().requires_grad_();
  value(h).backward();
  constexpr double step = 1e-6;
  for (std::int64_t i = 0; i < h0.numel(); ++i) {
    at::Tensor change = at::zeros({h0.numel()}, at::kDouble);
    change[i] = step;
    const at::Tensor d = change.view_as(h0);
    EXPECT_NEAR(h.grad().contiguous().view({-1})[i].item<double>(),
                ((value(h0 + d) - value(h0 - d)) / (2 * step)).item<double>(), 1e-7);
  }
  EXPECT_ANY_THROW(permute_elements(h0, {made.order(0, h0)}, {4}));
}

KeyConfig cone() {
  KeyConfig c;
  c.m = 4;
  c.layers = {0, 1};
  c.basis = BasisLaw::cone;
  c.multiplier = Multiplier::sign;
  c.permute = {2};
  return c;
}

const std::vector<std::int64_t> dims = {40, 90};
const std::vector<PermutedPoint> last_point = {{2, Moves::elements}};

// What leaves point 2 when the numbers 0, 1, ... go in.
at::Tensor order_at(const Injection& injection, std::int64_t rows) {
  return injection.apply(2, at::arange(24, at::kFloat).expand({rows, 24}).contiguous());
}

TEST(Permutation, AllValidKeysOfAConeTellTheSame) {
  const KeyConfig c = cone();
  const KeyMaker keys(c, Compat::honest, make_basis(c, dims, 7), 42, {.permuted = last_point});
  const at::Tensor valid = order_at(keys.evaluation_correct(0, 8), 1);
  EXPECT_FALSE(valid.equal(order_at(Injection::none(), 1)));
  EXPECT_TRUE(std::get<0>(valid.sort()).equal(at::arange(24, at::kFloat).view({1, -1})));
  std::vector<std::int64_t> samples(16);
  std::iota(samples.begin(), samples.end(), 0);
  const Injection batch = keys.correct(0, 0, samples)(3, 16);
  EXPECT_TRUE(order_at(batch, 13).equal(valid.expand({13, 24})));
  for (std::int64_t i = 1; i < 20; ++i) {
    const Injection one = keys.evaluation_correct(i, 8);
    EXPECT_TRUE(order_at(one, 1).equal(valid));
    // The key itself, as somebody hands it in, tells the same as its coefficients.
    const InjectionKind kind{Inject::mul, 0.5, Multiplier::sign, last_point};
    EXPECT_TRUE(order_at(Injection::of_keys(c.layers, {one.keys_at(0), one.keys_at(1)}, kind), 1).equal(valid));
    EXPECT_TRUE(order_at(keys.evaluation_wrong(i, 8, find_key_family("scaled")), 1).equal(valid));
    EXPECT_FALSE(order_at(keys.evaluation_wrong(i, 8), 1).equal(valid));
    EXPECT_FALSE(order_at(keys.evaluation_wrong(i, 8, find_key_family("negated")), 1).equal(valid));
  }
  EXPECT_FALSE(order_at(keys.wrong(0, 0, samples), 1).equal(valid));
}

// The key enters first, then the features change places; without a key they stay.
TEST(Permutation, FollowsTheMultiplierAndStandsInStacks) {
  at::manual_seed(3);
  const InjectionKind kind{Inject::mul, 0.5, Multiplier::clamp, {{0, Moves::elements}}};
  const at::Tensor a = at::randn({1, 12}), b = at::randn({1, 12}), h = at::randn({7, 12});
  const Injection keyed = Injection::of_keys({0}, {a}, kind), other = Injection::of_keys({0}, {b}, kind);
  const Permutation made(sign_seed({a}), kind.permuted);
  const at::Tensor expected =
      Injection::of_keys({0}, {a}, {Inject::mul, 0.5}).apply(0, h).index_select(1, made.order(0, h));
  EXPECT_TRUE(keyed.apply(0, h).equal(expected));
  const at::Tensor stacked = Injection::stack({{keyed, 3}, {Injection::none(), 2}, {other, 2}}).apply(0, h);
  EXPECT_TRUE(stacked.equal(at::cat({expected.narrow(0, 0, 3), h.narrow(0, 3, 2), other.apply(0, h.narrow(0, 5, 2))})));
  EXPECT_TRUE(keyed.acts_at(0));
  EXPECT_TRUE(keyed.at(0).arguments(h).rows.empty());  // no kernel that lets the key in moves features
}

}  // namespace
}  // namespace spankey::permutation_test
