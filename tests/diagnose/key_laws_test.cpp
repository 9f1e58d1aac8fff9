#include "diagnose/key_laws.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <cmath>

#include "base/statistics.h"
#include "diagnose/key_space.h"
#include "spankey/keys/key_maker.h"

namespace spankey::diagnose_keys_test {
namespace {

std::vector<double> to_vector(const at::Tensor& t) {
  const at::Tensor d = t.to(at::kDouble).contiguous();
  return {d.const_data_ptr<double>(), d.const_data_ptr<double>() + d.numel()};
}

// rho of `count` Gaussian vectors in d dimensions against a random m-dimensional span, by LAPACK's QR and torch's
// generator: nothing of ours but the law that is compared with.
std::vector<double> simulated_shares(std::int64_t m, std::int64_t d, std::int64_t count) {
  torch::manual_seed(7);
  const at::Tensor q = std::get<0>(at::linalg_qr(at::randn({d, m}, at::kDouble)));
  const at::Tensor g = at::randn({count, d}, at::kDouble);
  return to_vector(g.matmul(q).square().sum(1) / g.square().sum(1));
}

constexpr std::pair<std::int64_t, std::int64_t> sizes[] = {{5, 20}, {8, 784}, {32, 300}};

TEST(EnergySplit, T1SharesFollowTheBetaLaw) {
  for (const auto& [m, d] : sizes) {
    const auto shares = simulated_shares(m, d, 20000);
    const EnergySplit law{double(m), double(d)}, other{double(m) + 1, double(d)};
    EXPECT_GT(ks_p_value(ks_statistic(shares, [&](double r) { return law.cdf(r); }), 20000), 0.001) << m;
    EXPECT_LT(ks_p_value(ks_statistic(shares, [&](double r) { return other.cdf(r); }), 20000), 1e-6) << m;
  }
}

TEST(EnergySplit, T2MeanAndVariance) {
  for (const auto& [m, d] : sizes) {
    const auto shares = simulated_shares(m, d, 20000);
    const EnergySplit law{double(m), double(d)};
    const auto found = summarise(shares);
    EXPECT_NEAR(found.mean, law.mean(), 4 * found.sd / std::sqrt(20000.0));
    double fourth = 0;
    for (const double v : shares) fourth += std::pow(v - found.mean, 4) / 20000;
    const double variance = found.sd * found.sd;
    EXPECT_NEAR(variance, law.variance(), 4 * std::sqrt((fourth - variance * variance) / 20000));
  }
  // Printed in the derivation: (32, 3072) mean .01042, sd .00259.
  EXPECT_NEAR((EnergySplit{32, 3072}.mean()), 0.01042, 5e-6);
  EXPECT_NEAR(std::sqrt(EnergySplit{32, 3072}.variance()), 0.00259, 5e-6);
}

TEST(EnergySplit, T3ChernoffBoundsTheExactTailOnBothSides) {
  for (const auto& [m, d] : sizes) {
    const EnergySplit law{double(m), double(d)};
    for (int i = 1; i < 100; ++i) {
      const double rho = i / 100.0;
      if (rho > law.mean()) {
        EXPECT_LE(law.tail(rho), law.chernoff(rho) * (1 + 1e-9)) << m << " " << d << " " << rho;
      } else {
        EXPECT_LE(law.cdf(rho), law.chernoff(rho) * (1 + 1e-9)) << m << " " << d << " " << rho;
      }
    }
    EXPECT_NEAR(law.chernoff(law.mean()), 1.0, 1e-12);
    EXPECT_LT(law.chernoff(3 * law.mean()), 0.2);  // a bound that says something
  }
}

KeyConfig config_of(std::int64_t m, AlphaLaw law = AlphaLaw::u01) {
  KeyConfig config;
  config.m = m;
  config.alpha = law;
  return config;
}

TEST(EnergySplit, T4ScalingChangesNoShare) {
  torch::manual_seed(3);
  const auto config = config_of(4);
  const KeySpace space(config, make_basis(config, {50}, 5));
  const at::Tensor keys = at::randn({100, 50}, at::kDouble);
  const auto share = [&](const at::Tensor& k) {
    const auto energy = span_energy(k, space.slots()[0]);
    return energy.in_span / energy.total;
  };
  EXPECT_TRUE(at::allclose(share(keys), share(keys * 37.5), 1e-12, 1e-14));
  EXPECT_TRUE(at::allclose(share(keys), share(keys / keys.std(1, true, true)), 1e-12, 1e-14));
  EXPECT_FALSE(at::allclose(share(keys), share(keys.abs()), 1e-2, 1e-2));
  // The frame is the projector of the basis itself, found by least squares.
  const at::Tensor b = make_basis(config, {50}, 5).layers[0].to(at::kDouble);
  const at::Tensor projected = keys.matmul(at::linalg_pinv(b)).matmul(b);
  EXPECT_TRUE(at::allclose(share(keys), projected.square().sum(1) / keys.square().sum(1), 1e-9, 1e-12));
}

// Coefficients as the key maker draws them: with the identity for a basis and no rescaling, a key is its alpha.
at::Tensor drawn_alphas(AlphaLaw law, std::int64_t m, std::int64_t count) {
  auto config = config_of(m, law);
  config.rescale = Rescale::none;
  const KeyMaker maker(config, Compat::honest, Basis{{at::eye(m, at::kFloat)}}, 42);
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < count; ++i) rows.push_back(maker.evaluation_correct(i, 1).keys_at(0));
  return at::cat(rows).to(at::kDouble);
}

constexpr AlphaLaw laws[] = {AlphaLaw::u01,    AlphaLaw::u11,     AlphaLaw::gauss,
                             AlphaLaw::sphere, AlphaLaw::simplex, AlphaLaw::codebook};

TEST(KeyLaw, T5MomentsOfEveryAlphaLaw) {
  constexpr std::int64_t m = 6, count = 20000;
  for (const AlphaLaw law : laws) {
    const at::Tensor alphas = drawn_alphas(law, m, count);
    const auto expected = alpha_moments(law, m);
    // A codebook is 64 draws, however often it is asked.
    const double independent = law == AlphaLaw::codebook ? 64 : count;
    const at::Tensor mean = alphas.mean(0), centred = alphas - mean;
    for (std::int64_t i = 0; i < m; ++i) {
      const auto value = [](const at::Tensor& t) { return t.item<double>(); };
      EXPECT_NEAR(value(mean[i]), expected.mean, 4 * value(centred.select(1, i).std()) / std::sqrt(independent))
          << to_string(law);
      for (std::int64_t j = 0; j <= i; ++j) {
        const at::Tensor product = centred.select(1, i) * centred.select(1, j);
        EXPECT_NEAR(value(product.mean()), i == j ? expected.variance : expected.covariance,
                    4 * value(product.std()) / std::sqrt(independent) + 1 / independent)
            << to_string(law) << " " << i << j;
      }
    }
  }
}

// tr(M)^2 / tr(M^2) from the eigenvalues of the second moment of very many keys, against the formula and, with
// orthonormal rows and alpha uniform on [0, 1), its closed form (m/3)^2 / ((m/4 + 1/12)^2 + (m-1)/144).
TEST(KeyLaw, T6EffectiveRank) {
  for (const std::int64_t m : {5, 8, 32}) {
    const double x = double(m);
    const auto law = key_law(AlphaLaw::u01, at::eye(m, at::kDouble));
    EXPECT_NEAR(law.effective_rank, std::pow(x / 3, 2) / (std::pow(x / 4 + 1.0 / 12, 2) + (x - 1) / 144), 1e-10);
    EXPECT_LT(law.effective_rank, 16.0 / 9);
    EXPECT_NEAR(law.mean_energy_share, 0.75 + 1 / (4 * x), 1e-12);
  }
  EXPECT_NEAR(key_law(AlphaLaw::u01, at::eye(8, at::kDouble)).effective_rank, 1.62, 0.005);
  EXPECT_NEAR(key_law(AlphaLaw::u11, at::eye(8, at::kDouble)).effective_rank, 8, 1e-10);

  torch::manual_seed(11);
  const at::Tensor basis =
      at::randn({8, 40}, at::kDouble) * at::arange(1, 9, at::kDouble).unsqueeze(1);  // far from equal rows
  const at::Tensor gram = basis.matmul(basis.t());
  const auto rank_of = [&](const at::Tensor& alphas) {
    const at::Tensor keys = alphas.matmul(basis);
    const at::Tensor values = at::linalg_eigvalsh(keys.t().matmul(keys) / alphas.size(0));
    return (values.sum().square() / values.square().sum()).item<double>();
  };
  EXPECT_NEAR(rank_of(at::rand({200000, 8}, at::kDouble)), key_law(AlphaLaw::u01, gram).effective_rank, 0.02);
  EXPECT_NEAR(rank_of(at::randn({200000, 8}, at::kDouble)), key_law(AlphaLaw::gauss, gram).effective_rank, 0.03);
  const at::Tensor exponential = -at::rand({200000, 8}, at::kDouble).log();
  EXPECT_NEAR(rank_of(exponential / exponential.sum(1, true)), key_law(AlphaLaw::simplex, gram).effective_rank, 0.02);
}

TEST(KeyLaw, T7CosinesOfPairsAndToTheMean) {
  torch::manual_seed(13);
  constexpr std::int64_t m = 128, count = 1500;  // the delta method is good to 1/m
  const at::Tensor uniform = at::rand({count, m}, at::kDouble);
  const at::Tensor exponential = -at::rand({count, m}, at::kDouble).log();
  const std::pair<AlphaLaw, at::Tensor> cases[] = {{AlphaLaw::u01, uniform},
                                                   {AlphaLaw::u11, 2 * uniform - 1},
                                                   {AlphaLaw::sphere, at::randn({count, m}, at::kDouble)},
                                                   {AlphaLaw::simplex, exponential}};
  const at::Tensor direction = at::ones({m}, at::kDouble) / std::sqrt(double(m));
  for (const auto& [law, alphas] : cases) {
    const auto expected = key_law(law, at::eye(m, at::kDouble));
    const auto found = measure_keys(alphas, direction);
    EXPECT_NEAR(found.pair_cosine, expected.pair_cosine, 0.01) << to_string(law);
    EXPECT_NEAR(found.mean_cosine, expected.mean_cosine, 0.01) << to_string(law);
    EXPECT_NEAR(found.pair_cosine_sd / expected.pair_cosine_sd, 1, 0.06) << to_string(law);
    EXPECT_NEAR(found.mean_cosine_sd / expected.mean_cosine_sd, 1, 0.1) << to_string(law);
    EXPECT_NEAR(found.mean_energy_share, expected.mean_energy_share, 0.01) << to_string(law);
  }
  // The numbers of the derivation.
  const auto u01 = key_law(AlphaLaw::u01, at::eye(8, at::kDouble));
  EXPECT_NEAR(u01.pair_cosine, 0.75, 1e-12);
  EXPECT_NEAR(u01.pair_cosine_sd, std::sqrt(0.1 / 8), 1e-12);
  EXPECT_NEAR(u01.mean_cosine, std::sqrt(0.75), 1e-12);
  EXPECT_NEAR(u01.mean_cosine_sd, std::sqrt(0.025 / 8), 1e-12);
}

// measure_keys() by its definition, on few keys.
TEST(KeyLaw, SampleOfKeysByHand) {
  const at::Tensor keys = at::tensor({3.0, 4.0, 1.0, 0.0}, at::kDouble).view({2, 2});
  const auto found = measure_keys(keys, at::tensor({1.0, 0.0}, at::kDouble));
  EXPECT_DOUBLE_EQ(found.pair_cosine, 0.6);
  EXPECT_DOUBLE_EQ(found.mean_cosine, 0.8);
  EXPECT_DOUBLE_EQ(found.mean_energy_share, 10.0 / 26);
  EXPECT_NEAR(found.effective_rank, 26 * 26 / (100.0 + 256 + 2 * 144), 1e-12);  // M = [[10, 12], [12, 16]]
}

TEST(KeySpace, LayersThatShareAKeyShareASlot) {
  auto config = config_of(3);
  config.layers = {0, 2};
  const auto basis = make_basis(config, {10, 30}, 1);
  const KeySpace shared(config, basis);
  ASSERT_EQ(shared.slots().size(), 1U);
  EXPECT_EQ(shared.slots()[0].width(), 30);
  const KeyMaker maker(config, Compat::honest, basis, 42);
  const auto drawn = maker.evaluation_correct(4, 1);
  const auto again = shared.injection(shared.keys_of(drawn));
  for (const std::int64_t point : {0, 2})
    EXPECT_TRUE(at::allclose(again.keys_at(point), drawn.keys_at(point), 1e-6, 1e-7)) << point;
  EXPECT_FALSE(again.keys_at(1).defined());
  config.per_layer_key = true;
  EXPECT_EQ(KeySpace(config, basis).slots().size(), 2U);
}

}  // namespace
}  // namespace spankey::diagnose_keys_test
