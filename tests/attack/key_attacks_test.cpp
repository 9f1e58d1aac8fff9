// Attacks that look for a key: each against a count by hand, an evaluation, or what the owner sees in the key.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <span>
#include <tuple>

#include "attack/key_attacks/alpha_search.h"
#include "attack/key_attacks/collusion.h"
#include "attack/key_attacks/key_shapes.h"
#include "base/digest.h"
#include "spankey/models/named_tensor.h"
#include "toy_run.h"

namespace spankey::key_attacks_test {
namespace {

using test::outcome_of;
using test::share;

const AttackedRun& locked_mlp() {
  static const auto run = test::locked_run(test::small_mlp, 150);
  return run;
}

at::Tensor three_keys() {
  return at::tensor({1.0, 4.0, -2.0, 0.0, 3.0, 5.0, 7.0, 0.0, 2.0, -1.0, 9.0, 2.0}, at::kDouble).view({3, 4});
}

TEST(Collusion, MedianMinMaxAndMosaicByHand) {
  const auto keys = three_keys();
  EXPECT_TRUE(at::equal(median_key(keys), at::tensor({2.0, 4.0, 7.0, 0.0}, at::kDouble).view({1, 4})));
  EXPECT_TRUE(at::equal(median_key(keys.narrow(0, 0, 2)), at::tensor({2.0, 4.5, 2.5, 0.0}, at::kDouble).view({1, 4})));
  EXPECT_TRUE(at::equal(min_max_key(keys), at::tensor({2.0, 2.0, 3.5, 1.0}, at::kDouble).view({1, 4})));
  const std::array<double, 4> uniforms{0.0, 0.34, 0.99, 0.67};
  EXPECT_TRUE(at::equal(mosaic_key(keys, uniforms), at::tensor({1.0, 5.0, 9.0, 2.0}, at::kDouble).view({1, 4})));
}

TEST(Collusion, NoiseHasTheEnergyThatIsAskedFor) {
  const auto keys = three_keys(), mean = keys.mean(0, true);
  const auto noise = at::tensor({1.0, -1.0, 2.0, 0.5}, at::kDouble).view({1, 4});
  const auto moved = noisy_mean_key(keys, noise, 0.3) - mean;
  EXPECT_NEAR(moved.square().sum().item<double>(), 0.3 * mean.square().sum().item<double>(), 1e-12);
  EXPECT_TRUE(at::equal(noisy_mean_key(keys, noise, 0.0), mean));
}

// The same from the other side: with the leading eigenvectors U of K K^T it is 1^T U U^T K / c.
TEST(Collusion, TheLeadingDirectionsAreThoseOfTheGram) {
  at::Tensor keys = at::empty({5, 40}, at::kDouble);
  Stream({.seed = 4, .purpose = Purpose::test})
      .fill_uniform(std::span(keys.mutable_data_ptr<double>(), static_cast<std::size_t>(keys.numel())));
  keys = keys - 0.5;
  const auto vectors = std::get<1>(at::linalg_eigh(keys.matmul(keys.t())));  // the largest last
  const auto leading = vectors.narrow(1, 3, 2);
  const auto wanted = leading.matmul(leading.t()).matmul(keys).mean(0, true);
  EXPECT_LT((leading_mean_key(keys, 2) - wanted).abs().max().item<double>(), 1e-12);
  EXPECT_GT((leading_mean_key(keys, 2) - keys.mean(0, true)).norm().item<double>(), 1e-3);
  for (const std::int64_t all : {5, 9})
    EXPECT_LT((leading_mean_key(keys, all) - keys.mean(0, true)).abs().max().item<double>(), 1e-12);
}

TEST(Collusion, OneKeyAloneIsItself) {
  const auto& run = locked_mlp();
  const auto mean = outcome_of(run, "L1", {.leaked = 1, .variant = "mean"});
  for (const char* variant : {"median", "min-max", "mosaic", "svd"})
    EXPECT_NEAR(share(outcome_of(run, "L1", {.leaked = 1, .variant = variant}), "correct"), share(mean, "correct"),
                0.01)
        << variant;
  // A tenth of an issued key is its fingerprint, which a mean of several keys wears off, and noise adds to.
  const auto energy = [&](const char* variant, std::int64_t leaked) {
    const auto outcome = outcome_of(run, "L1", {.leaked = leaked, .variant = variant});
    return outcome.at("detail").at("owner").at("energy_in_span")[1].get<double>();
  };
  EXPECT_NEAR(energy("mean", 1), 0.9, 0.02);
  EXPECT_GT(energy("mean", 4), 0.95);
  EXPECT_LT(energy("mosaic", 4), energy("mean", 4));
  EXPECT_LT(energy("noise 1", 4), 0.7);
}

// Everything of one user's key that is outside the span is his fingerprint, so that z is sqrt(d - m). For the mean of c
// keys z is sqrt((d - m) / c) (keyring/trace.h). The control is as much noise as key.
TEST(Collusion, IsTracedAsTheorySays) {
  const auto run = test::untrained_run(test::mode_b);  // d = 1568, m = 8
  const auto trace = [&](const char* variant, std::int64_t leaked) {
    return outcome_of(run, "L1", {.leaked = leaked, .variant = variant}).at("detail").at("owner").at("trace");
  };
  const auto one = trace("mean", 1), three = trace("mean", 3), mosaic = trace("mosaic", 5),
             noise = trace("noise 1", 10);
  EXPECT_NEAR(one.at("mean_z").get<double>(), std::sqrt(1560.0), 0.01);
  EXPECT_NEAR(three.at("mean_z").get<double>(), std::sqrt(520.0), 1.5);
  EXPECT_LE(three.at("smallest_z"), three.at("mean_z"));
  EXPECT_EQ(one.at("colluders_named"), 1);
  EXPECT_EQ(three.at("colluders_named"), 3);
  EXPECT_EQ(mosaic.at("colluders_named"), 5) << "by repeated coordinates";
  EXPECT_LT(mosaic.at("smallest_z").get<double>(), 6.0);
  EXPECT_LE(noise.at("colluders_named").get<int>(), 2) << noise;
  for (const auto& each : {one, three, mosaic, noise}) {
    EXPECT_EQ(each.at("innocents_named"), 0);
    EXPECT_EQ(each.at("users"), 500);
    EXPECT_NEAR(each.at("z_threshold").get<double>(), 4.75, 0.05);  // Phi^-1(1 - 0.99e-3 / 1000)
  }
}

// Layers that are too narrow for fingerprints have no tracing, and the attack goes on without it.
TEST(Collusion, NarrowLayersAreNotTraced) {
  const auto run = test::untrained_run(
      "[data]\nfile='builtin:argmax'\n[model]\nname='mlp'\n[deny]\nmode='B'\n[key]\nlayers=[0]\nm=16\n");
  ASSERT_LT(run.experiment.key_dims[0], 16 + 8);
  const auto owner = outcome_of(run, "L1", {.leaked = 2, .variant = "mean"}).at("detail").at("owner");
  EXPECT_FALSE(owner.contains("trace"));
  EXPECT_NEAR(owner.at("energy_in_span")[0].get<double>(), 1.0, 1e-6);
}

TEST(KeyShapes, EachLayerTakesTheBeginning) {
  const auto vector = at::arange(6, at::kFloat).view({1, 6});
  const auto keys = prefixes({.layers = {0, 1}, .widths = {2, 6}, .kind = {}, .std = 1.0, .m = 1}, vector);
  EXPECT_TRUE(at::equal(keys[0], at::tensor({0.0F, 1.0F}).view({1, 2})));
  EXPECT_TRUE(at::equal(keys[1], vector));
  EXPECT_TRUE(at::equal(widest_key(keys), vector));
  EXPECT_NEAR(of_size(vector, 0.5).std().item<double>(), 0.5, 1e-6);
}

// At the cosine 1 and at the size 1 the profile is that of valid keys.
TEST(Acceptance, EndsAtValidKeys) {
  const auto& run = locked_mlp();
  const double valid = share(outcome_of(run, "R0", {.keys = 2}), "correct");
  const auto norm = outcome_of(run, "K3", {.keys = 14, .variant = "norm"}).at("detail").at("profile");
  ASSERT_EQ(norm.size(), 7U);
  EXPECT_EQ(norm[4].at("norm"), 1.0);
  EXPECT_DOUBLE_EQ(norm[4].at("accuracy").get<double>(), valid);
  const auto outcome = outcome_of(run, "K3", {.keys = 22, .variant = "cosine"});
  const auto& cosine = outcome.at("detail").at("profile");
  ASSERT_EQ(cosine.size(), 11U);
  EXPECT_NEAR(cosine[10].at("accuracy").get<double>(), valid, 0.02);
  EXPECT_EQ(cosine[5].at("accuracy"), share(outcome, "correct"));
  const double c50 = outcome.at("detail").at("c50").get<double>();
  EXPECT_GE(c50, 0.0);
  EXPECT_LE(c50, 1.0);
}

TEST(FreeKey, TheOwnerSeesWhereItEnds) {
  const auto& run = locked_mlp();
  const auto free_key = outcome_of(run, "K5", {.images = 10, .steps = 50}).at("detail").at("owner");
  const auto leaked = outcome_of(run, "K4", {.leaked = 1}).at("detail").at("owner");
  ASSERT_EQ(free_key.at("energy_in_span").size(), 2U);
  EXPECT_LT(free_key.at("energy_in_span")[1].get<double>(), 0.9);
  EXPECT_NEAR(leaked.at("energy_in_span")[1].get<double>(), 1.0, 1e-6);
  // E cos = 3/4 under the law of the test's keys.
  EXPECT_GT(leaked.at("cosine_to_mean_key")[1].get<double>(), 0.5);
  auto stolen = test::locked_run(test::small_mlp, 1);
  stolen.basis.reset();
  EXPECT_FALSE(outcome_of(stolen, "K5", {.images = 10, .steps = 2}).at("detail").contains("owner"));
}

// Scores lead to a key that opens, and a start alone does not.
TEST(ScoreSearch, FollowsTheScores) {
  const auto& run = locked_mlp();
  const auto found = outcome_of(run, "K8a", {.images = 64, .queries = 20'000}),
             start = outcome_of(run, "K8a", {.images = 64, .queries = 0});
  EXPECT_LT(found.at("own_loss").get<double>(), 0.7 * start.at("own_loss").get<double>());
  EXPECT_GT(share(found, "correct"), share(start, "correct") + 0.2);
  EXPECT_LE(found.at("cost").at("queries").get<std::int64_t>(), 20'000);
  EXPECT_GT(found.at("cost").at("queries").get<std::int64_t>(), 18'000);
  const auto& curve = found.at("detail").at("curve");
  EXPECT_LT(curve.back()[1].get<double>(), curve.front()[1].get<double>());
}

TEST(LabelSearch, NeverStepsBack) {
  const auto& run = locked_mlp();
  const auto found = outcome_of(run, "K8b", {.images = 64, .queries = 6'400});
  const auto& detail = found.at("detail");
  EXPECT_EQ(detail.at("starts"), 50);
  EXPECT_GE(detail.at("right").get<double>(), detail.at("right_at_start").get<double>());
  EXPECT_EQ(found.at("cost").at("queries"), 6'400);
  EXPECT_NEAR(found.at("own_loss").get<double>(), 1.0 - detail.at("right").get<double>(), 1e-12);
}

TEST(Evasion, LeavesTheRevokedKeyAndKeepsTheLoss) {
  const auto& run = locked_mlp();
  const auto evaded = outcome_of(run, "L2", {.images = 256, .steps = 100, .leaked = 1});
  const auto& detail = evaded.at("detail");
  EXPECT_GT(detail.at("smallest_distance").get<double>(), 0.2);
  EXPECT_LE(evaded.at("own_loss").get<double>(), 1.05 * detail.at("own_loss_of_the_revoked_key").get<double>() + 1e-6);
  EXPECT_GT(share(evaded, "correct"), share(outcome_of(run, "K4", {.leaked = 1}), "correct") - 0.1);
  EXPECT_EQ(evaded.at("cost").at("leaked"), 1);
  EXPECT_EQ(evaded.at("cost").at("labels"), 0);
  // More keys on the list leave less room.
  const auto among = outcome_of(run, "L2", {.images = 256, .steps = 100, .leaked = 4});
  EXPECT_GT(among.at("detail").at("smallest_distance").get<double>(), 0.0);
}

// Whatever the reference's searches find is a valid key: all of it lies in the span.
TEST(AlphaSearch, FindsValidKeysByConstruction) {
  const auto& run = locked_mlp();
  const auto weights = to_hex(weights_digest(*run.experiment.model));
  nlohmann::json found;
  for (const Budget& budget : std::vector<Budget>{{.keys = 5, .variant = "adaptive"},
                                                  {.keys = 5, .variant = "blackbox"},
                                                  {.images = 64, .steps = 20, .variant = "gradient"}}) {
    const auto outcome = outcome_of(run, "K9", budget);
    for (const auto& energy : outcome.at("detail").at("owner").at("energy_in_span"))
      EXPECT_NEAR(energy.get<double>(), 1.0, 1e-5) << budget.variant;
    EXPECT_EQ(outcome.at("cost").at("queries"), budget.keys * run.experiment.dataset->test().size);
    found[budget.variant] = outcome.at("own_loss");
  }
  EXPECT_NE(found.at("adaptive"), found.at("gradient"));
  EXPECT_TRUE(needs_valid_key(find_attack("K9")));
  EXPECT_EQ(to_hex(weights_digest(*run.experiment.model)), weights);
  EXPECT_FALSE(run.experiment.model->is_training());
}

}  // namespace
}  // namespace spankey::key_attacks_test
