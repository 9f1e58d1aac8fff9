#include "spankey/keys/key_maker.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace spankey::key_maker_test {
namespace {

const std::vector<std::int64_t> dims = {60, 200};  // of injection points 0 and 2

KeyConfig config(Rescale rescale, bool per_layer_key = false, Layout layout = Layout::shared_prefix) {
  KeyConfig c;
  c.layers = {0, 2};
  c.inject = Inject::add;  // with gamma 1 a key comes out as it went in
  c.gamma = 1.0;
  c.rescale = rescale;
  c.per_layer_key = per_layer_key;
  c.layout = layout;
  return c;
}

KeyMaker maker(const KeyConfig& c, Compat compat = Compat::honest, std::uint64_t seed = 42) {
  return KeyMaker(c, compat, make_basis(c, dims, 7), seed);
}

// The keys of `rows` samples at the `slot`-th configured layer, float64.
at::Tensor keys_of(const Injection& injection, std::int64_t slot, std::int64_t rows) {
  return injection.apply(slot == 0 ? 0 : 2, at::zeros({rows, dims[static_cast<std::size_t>(slot)]})).to(at::kDouble);
}

std::vector<std::int64_t> samples(std::int64_t n) {
  std::vector<std::int64_t> result(static_cast<std::size_t>(n));
  std::iota(result.begin(), result.end(), 1000);
  return result;
}

TEST(KeyMaker, AnyCutOfTheBatchGivesTheSameBits) {
  const auto batch = samples(13);
  for (const Rescale rescale : {Rescale::batch, Rescale::key, Rescale::none}) {
    for (const bool plk : {false, true}) {
      for (const Layout layout : {Layout::shared_prefix, Layout::per_layer, Layout::shared_blocks}) {
        const KeyMaker keys = maker(config(rescale, plk, layout));
        for (const std::int64_t slot : {0, 1}) {
          const at::Tensor whole = keys_of(keys.correct(3, 5, batch)(0, 13), slot, 13);
          at::Tensor parts = at::cat({keys_of(keys.correct(3, 5, batch)(0, 4), slot, 4),
                                      keys_of(keys.correct(3, 5, batch)(4, 5), slot, 1),
                                      keys_of(keys.correct(3, 5, batch)(5, 13), slot, 8)});
          EXPECT_TRUE(parts.equal(whole));
        }
      }
    }
  }
}

// What depends on all samples is summed when the step begins: it does not look at them again, shard by shard.
TEST(KeyMaker, KeysOfAGlobalBatchAreDrawnOnce) {
  for (const Rescale rescale : {Rescale::batch, Rescale::key}) {
    const KeyMaker keys = maker(config(rescale));
    auto batch = samples(13);
    const auto correct = keys.correct(3, 5, batch);
    const at::Tensor before = keys_of(correct(4, 9), 1, 5);
    for (auto& sample : batch) sample += 100;
    const bool drawn_before = before.equal(keys_of(correct(4, 9), 1, 5));
    EXPECT_EQ(drawn_before, rescale == Rescale::batch) << "the control: a key of its own sample";
    EXPECT_FALSE(before.equal(keys_of(keys.correct(3, 5, batch)(4, 9), 1, 5)));
  }
}

TEST(KeyMaker, EpochStepSampleAndSeedAllMatter) {
  const auto batch = samples(4);
  auto other = batch;
  other[0] += 1;
  const KeyMaker keys = maker(config(Rescale::key));
  const at::Tensor base = keys_of(keys.correct(3, 5, batch)(0, 4), 0, 4);
  EXPECT_TRUE(base.equal(keys_of(keys.correct(3, 5, batch)(0, 4), 0, 4)));
  EXPECT_FALSE(base.equal(keys_of(keys.correct(4, 5, batch)(0, 4), 0, 4)));
  EXPECT_FALSE(base.equal(keys_of(keys.correct(3, 6, batch)(0, 4), 0, 4)));
  EXPECT_FALSE(base[0].equal(keys_of(keys.correct(3, 5, other)(0, 4), 0, 4)[0]));
  EXPECT_FALSE(base.equal(keys_of(maker(config(Rescale::key), Compat::honest, 43).correct(3, 5, batch)(0, 4), 0, 4)));
  EXPECT_FALSE(keys_of(keys.wrong(3, 5, batch), 0, 1).equal(keys_of(keys.wrong(3, 6, batch), 0, 1)));
}

// Negative control of the test above the last: scaling each part by itself would be caught.
TEST(KeyMaker, TheBatchFactorIsOverTheGlobalBatch) {
  const KeyMaker keys = maker(config(Rescale::batch));
  const auto batch = samples(8);
  const at::Tensor part = keys_of(keys.correct(0, 0, batch)(0, 4), 1, 4);
  const at::Tensor alone = keys_of(keys.correct(0, 0, std::span(batch).first(4))(0, 4), 1, 4);
  EXPECT_FALSE(part.equal(alone));
  EXPECT_NEAR(keys_of(keys.correct(0, 0, batch)(0, 8), 1, 8).std().item<double>(), 0.5, 1e-6);
  EXPECT_GT(std::abs(part.std().item<double>() - 0.5), 1e-6);
}

TEST(KeyMaker, RescaleKeyBringsEveryKeyToTheTarget) {
  const auto batch = samples(20);
  for (const bool own : {false, true}) {
    const KeyMaker keys = maker(config(Rescale::key, own));
    const at::Tensor wide = keys_of(keys.correct(0, 0, batch)(0, 20), 1, 20);
    EXPECT_LT((wide.std(1) - 0.5).abs().max().item<double>(), 1e-6);
    // With one alpha and a shared basis the narrow layer sees a prefix of the same vector; otherwise it is scaled too.
    const at::Tensor narrow = keys_of(keys.correct(0, 0, batch)(0, 20), 0, 20);
    EXPECT_EQ(narrow.equal(wide.narrow(1, 0, dims[0])), !own);
    EXPECT_EQ((narrow.std(1) - 0.5).abs().max().item<double>() < 1e-6, own);
  }
}

TEST(KeyMaker, NoRescalingLeavesAlphaTimesBasis) {
  KeyConfig c = config(Rescale::none);
  const KeyMaker keys = maker(c);
  const at::Tensor basis = make_basis(c, dims, 7).layers[1].to(at::kDouble);
  const at::Tensor k = keys_of(keys.correct(0, 0, samples(6))(0, 6), 1, 6);
  const at::Tensor alphas = std::get<0>(at::linalg_lstsq(basis.t(), k.t()));
  EXPECT_LT((alphas.t().matmul(basis) - k).abs().max().item<double>(), 1e-6);
  EXPECT_GE(alphas.min().item<double>(), -1e-5);
  EXPECT_LE(alphas.max().item<double>(), 1 + 1e-5);
}

TEST(KeyMaker, WrongKeysMatchTheNormOfValidOnes) {
  const auto batch = samples(20);
  for (const Compat compat : {Compat::honest, Compat::reference}) {
    const at::Tensor key = keys_of(maker(config(Rescale::key), compat).wrong(0, 0, batch), 1, 1);
    EXPECT_NEAR(key.std().item<double>(), 0.5, 1e-6);
    // Expanded to n rows the unbiased factor is another one: std of the expansion is 0.5, of the row it is not.
    const at::Tensor expanded = keys_of(maker(config(Rescale::batch), compat).wrong(0, 0, batch), 1, 20);
    EXPECT_NEAR(expanded.std().item<double>(), 0.5, 1e-7);
    const double n = 20, d = 200;
    EXPECT_NEAR(expanded[0].std().item<double>(), 0.5 * std::sqrt((n * d - 1) / (n * (d - 1))), 1e-6);
  }
  // Without rescaling: the reference leaves a unit Gaussian, the honest protocol takes the valid keys' deviation.
  const KeyMaker honest = maker(config(Rescale::none)), reference = maker(config(Rescale::none), Compat::reference);
  const double valid = keys_of(honest.correct(0, 0, batch)(0, 20), 1, 20).std().item<double>();
  EXPECT_NEAR(keys_of(honest.wrong(0, 0, batch), 1, 20).std().item<double>(), valid, 1e-6);
  EXPECT_NEAR(keys_of(reference.wrong(0, 0, batch), 1, 1).std().item<double>(), 1.0, 0.25);
  EXPECT_GT(std::abs(valid - 1.0), 0.3);
}

TEST(KeyMaker, WrongKeysFillTheSpaceAndValidOnesDoNot) {
  const KeyConfig c = config(Rescale::key);
  const at::Tensor basis = orthonormal_rows(make_basis(c, dims, 7).layers[1].to(at::kDouble));
  const auto share = [&](const at::Tensor& k) {
    return (k.matmul(basis.t()).square().sum() / k.square().sum()).item<double>();
  };
  const KeyMaker keys = maker(c);
  double wrong = 0;
  for (std::int64_t i = 0; i < 50; ++i) wrong += share(keys_of(keys.evaluation_wrong(i, 1), 1, 1)) / 50;
  EXPECT_NEAR(wrong, 8.0 / 200.0, 0.02);  // m / d, standard error 0.0028
  EXPECT_NEAR(share(keys_of(keys.evaluation_correct(0, 1), 1, 1)), 1.0, 1e-6);
}

TEST(KeyMaker, WrongKeysFillTheirSlots) {
  const auto batch = samples(3);
  const KeyMaker shared = maker(config(Rescale::key)), own = maker(config(Rescale::key, true));
  EXPECT_TRUE(keys_of(shared.wrong(0, 0, batch), 0, 1)[0].equal(
      keys_of(shared.wrong(0, 0, batch), 1, 1)[0].narrow(0, 0, dims[0])));
  EXPECT_FALSE(
      keys_of(own.wrong(0, 0, batch), 0, 1)[0].equal(keys_of(own.wrong(0, 0, batch), 1, 1)[0].narrow(0, 0, dims[0])));
}

// Alphas by least squares, of either layer.
at::Tensor alphas_of(const KeyConfig& c, const Injection& injection, std::int64_t slot) {
  const at::Tensor basis = make_basis(c, dims, 7).layers[static_cast<std::size_t>(slot)].to(at::kDouble);
  const at::Tensor alpha = std::get<0>(at::linalg_lstsq(basis.t(), keys_of(injection, slot, 1).t())).t();
  return alpha / alpha.norm();
}

TEST(KeyMaker, EvaluationFollowsTheTrainingRuleUnlessTheReferenceIsAskedFor) {
  const KeyConfig c = config(Rescale::key, false, Layout::per_layer);
  for (const Compat compat : {Compat::honest, Compat::reference}) {
    const Injection key = maker(c, compat).evaluation_correct(5, 16);
    const double difference = (alphas_of(c, key, 0) - alphas_of(c, key, 1)).abs().max().item<double>();
    EXPECT_EQ(difference < 1e-5, compat == Compat::honest) << difference;
  }
  const KeyMaker keys = maker(c);
  EXPECT_FALSE(keys_of(keys.evaluation_correct(0, 1), 0, 1).equal(keys_of(keys.evaluation_correct(1, 1), 0, 1)));
  EXPECT_FALSE(keys_of(keys.evaluation_wrong(0, 1), 0, 1).equal(keys_of(keys.evaluation_wrong(1, 1), 0, 1)));
}

// With blocks the standard deviation is that of both layers together, for valid and for wrong keys, whose parts are
// not prefixes of one another.
TEST(KeyMaker, BlocksShareOneFactorOverAllColumns) {
  const auto batch = samples(20);
  for (const Rescale rescale : {Rescale::key, Rescale::batch}) {
    const KeyMaker keys = maker(config(rescale, false, Layout::shared_blocks));
    const auto both = [&](const Injection& key, std::int64_t rows) {
      return at::cat({keys_of(key, 0, rows), keys_of(key, 1, rows)}, 1);
    };
    const at::Tensor valid = both(keys.correct(0, 0, batch)(0, 20), 20);
    const at::Tensor deviations = rescale == Rescale::key ? valid.std(1) : valid.std();
    EXPECT_LT((deviations - 0.5).abs().max().item<double>(), 1e-6);
    EXPECT_GT((valid.narrow(1, 0, dims[0]).std(1) - 0.5).abs().max().item<double>(), 1e-4);  // of one block alone: not
    const at::Tensor wrong = both(keys.wrong(0, 0, batch), 20);
    EXPECT_NEAR((rescale == Rescale::key ? wrong[0] : wrong).std().item<double>(), 0.5, 1e-6);
    EXPECT_FALSE(wrong[0].narrow(0, 0, dims[0]).equal(wrong[0].narrow(0, dims[0], dims[0])));
    // One alpha: the same coefficients give both blocks.
    const KeyConfig c = config(rescale, false, Layout::shared_blocks);
    const at::Tensor whole = at::cat(make_basis(c, dims, 7).layers, 1).to(at::kDouble);
    const at::Tensor alphas = std::get<0>(at::linalg_lstsq(whole.t(), valid.t()));
    EXPECT_LT((whole.t().matmul(alphas) - valid.t()).abs().max().item<double>(), 1e-5);
  }
}

TEST(KeyMaker, CoefficientsFollowTheConfiguredLaw) {
  KeyConfig c = config(Rescale::none);
  c.alpha = AlphaLaw::sphere;
  const at::Tensor basis = make_basis(c, dims, 7).layers[1].to(at::kDouble);
  const at::Tensor k = keys_of(maker(c).correct(0, 0, samples(6))(0, 6), 1, 6);
  EXPECT_LT((std::get<0>(at::linalg_lstsq(basis.t(), k.t())).norm(2, 0) - 1).abs().max().item<double>(), 1e-5);
  const at::Tensor evaluation = keys_of(maker(c).evaluation_correct(2, 1), 1, 1);
  EXPECT_NEAR(std::get<0>(at::linalg_lstsq(basis.t(), evaluation.t())).norm().item<double>(), 1, 1e-5);
}

// cos(k, k') of valid keys is 3/4 for coefficients on [0, 1).
TEST(KeyMaker, ValidKeysAreNearlyCollinear) {
  const KeyMaker keys = maker(config(Rescale::key));
  const at::Tensor k = keys_of(keys.correct(0, 0, samples(200))(0, 200), 1, 200);
  const at::Tensor unit = k / k.norm(2, 1, true);
  const double mean = (unit.matmul(unit.t()).sum().item<double>() - 200) / (200.0 * 199.0);
  EXPECT_NEAR(mean, 0.76, 0.05);
}

}  // namespace
}  // namespace spankey::key_maker_test
