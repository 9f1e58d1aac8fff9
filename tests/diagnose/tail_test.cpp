#include "diagnose/tail.h"

#include <gtest/gtest.h>
#include <torch/utils.h>

#include <cmath>

#include "base/statistics.h"
#include "train/toy_model.h"

namespace spankey::diagnose_tail_test {
namespace {

using test::ToyModel;

constexpr std::int64_t width = 300, samples = 24;

// A linear network on one keyed layer, with the margins of its samples spread around `offset`.
struct LinearScene {
  std::int64_t classes;
  KeySpace space;
  ToyModel model;
  at::Tensor x, labels;

  LinearScene(std::int64_t class_count, Inject inject, double gamma, double offset)
      : classes(class_count),
        space(config(inject, gamma), basis(inject, gamma)),
        model(first(), second(class_count), test::identity) {
    torch::manual_seed(21);
    x = at::randn({samples, width}, at::kDouble);
    labels = at::arange(samples, at::kLong).remainder(classes);
    // Towards the label's weights: easy and hard samples.
    x = x + at::rand({samples, 1}, at::kDouble) * offset * second(classes).index({labels});
  }
  static KeyConfig config(Inject inject, double gamma) {
    KeyConfig c;
    c.m = 4;
    c.inject = inject;
    c.gamma = gamma;
    return c;
  }
  static Basis basis(Inject inject, double gamma) { return make_basis(config(inject, gamma), {width}, 5); }
  static at::Tensor first() { return at::eye(width, at::kDouble); }
  static at::Tensor second(std::int64_t class_count) {
    torch::manual_seed(20);
    return at::randn({class_count, width}, at::kDouble) / std::sqrt(double(width));
  }

  TailPrediction predict(double std) {
    const MarginProbe probe(model, space, judge());
    const std::vector<Perturbation> slots{perturbation(space.kind(), std)};
    return predict_tail(linearise(probe, x, slots), slots, labels, judge(), tail_normals(42, 2000, classes));
  }
  Judge judge() const { return {classes, RejectKind::none}; }

  // Share of errors of each sample under `keys` keys drawn by torch's generator.
  at::Tensor simulate(double std, std::int64_t keys) {
    torch::manual_seed(22);
    const at::NoGradGuard no_grad;
    at::Tensor errors = at::zeros({samples}, at::kDouble);
    for (std::int64_t i = 0; i < keys; ++i) {
      const auto injection = space.injection({std * at::randn({1, width}, at::kDouble)});
      errors += model.forward(x, injection).logits.argmax(1).ne(labels);
    }
    return errors / double(keys);
  }
};

TEST(Multiplier, T12QuadratureAgainstMonteCarloAndTable) {
  torch::manual_seed(1);
  const at::Tensor normals = at::randn({400000}, at::kDouble);
  struct Row {
    double gamma, std, mean, sd, low, high;
  };
  // Printed in the derivation of the moments.
  const Row table[] = {{0.25, 0.5, 1.0, 0.1041, 0, 0},         {0.5, 0.5, 1.0, 0.2083, 0, 0},
                       {0.35, 0.45, 1.0, 0.1349, 0, 0},        {1, 0.5, 1.0, 0.4165, 0.002, 0},
                       {2, 0.5, 1.0151, 0.6832, 0.166, 0.136}, {2, 1, 1.0303, 0.8176, 0.314, 0.291}};
  for (const auto& row : table) {
    const auto law = multiplier_moments({Inject::mul, row.gamma, Multiplier::clamp}, row.std);
    EXPECT_NEAR(law.mean, row.mean, 1.5e-4);
    EXPECT_NEAR(law.sd, row.sd, 1.5e-4);
    EXPECT_NEAR(law.at_low, row.low, 6e-4);
    EXPECT_NEAR(law.at_high, row.high, 6e-4);
  }
  for (const auto multiplier : {Multiplier::clamp, Multiplier::exp, Multiplier::sym})
    for (const auto& row : table) {
      const auto law = multiplier_moments({Inject::mul, row.gamma, multiplier}, row.std);
      const at::Tensor t = (row.std * normals).tanh();
      const at::Tensor s = multiplier == Multiplier::clamp ? (1 + row.gamma * t).clamp(0.1, 2.0)
                           : multiplier == Multiplier::exp ? (row.gamma * t).exp()
                                                           : 1 + std::min(row.gamma, 0.9) * t;
      const double sd = s.std().item<double>(), root = std::sqrt(double(s.numel()));
      EXPECT_NEAR(law.mean, s.mean().item<double>(), 4 * sd / root) << to_string(multiplier) << " " << row.gamma;
      EXPECT_NEAR(law.sd, sd, 4 * sd / root)
          << to_string(multiplier) << " " << row.gamma;  // flat laws: less than Gaussian
    }
}

std::vector<double> to_list(const at::Tensor& t) {
  return {t.const_data_ptr<double>(), t.const_data_ptr<double>() + t.numel()};
}

// Standard error of a share of `draws`, from the predictions of all samples: the draws are the same for all of them, so
// the mean over samples is no more certain than one of them.
double standard_error(const at::Tensor& p, std::int64_t draws) {
  return (p * (1 - p) / double(draws)).sqrt().mean().item<double>();
}

TEST(MarginTail, T13JacobianGaussianWithinThreeErrorsOfMonteCarlo) {
  struct Case {
    Inject inject;
    double gamma, std;
  };
  for (const auto& [inject, gamma, std] :
       {Case{Inject::add, 0.8, 0.5}, Case{Inject::mul, 0.9, 0.5}, Case{Inject::mul, 2.0, 1.0}}) {
    LinearScene scene(5, inject, gamma, 2.5);
    const auto tail = scene.predict(std);
    constexpr std::int64_t keys = 4000;
    const at::Tensor measured = scene.simulate(std, keys);
    const double mean = measured.mean().item<double>();
    EXPECT_TRUE(mean > 0.05 && mean < 0.9) << mean;
    const double error = std::hypot(standard_error(tail.jacobian, 2000), standard_error(measured, keys));
    EXPECT_NEAR(tail.jacobian.mean().item<double>(), mean, 3 * error) << to_string(inject) << gamma;
    EXPECT_GT(correlation(to_list(tail.jacobian), to_list(measured)), 0.99);
    // The margin to one rival alone leaves errors out: five classes tell the two predictions apart.
    EXPECT_LT(tail.gaussian.mean().item<double>(), mean - 3 * error);
  }
}

TEST(MarginTail, T14CantelliAndHoeffdingBoundLinearNetworks) {
  for (const auto inject : {Inject::add, Inject::mul}) {
    LinearScene scene(2, inject, 0.9, 1.5);
    const auto tail = scene.predict(0.8);
    const at::Tensor measured = scene.simulate(0.8, 3000);
    const at::Tensor slack = 3 * (measured * (1 - measured) / 3000.0).sqrt();
    EXPECT_TRUE(tail.cantelli_high.ge(measured - slack).all().item<bool>());
    EXPECT_TRUE(tail.cantelli_low.le(measured + slack).all().item<bool>());
    EXPECT_TRUE(tail.cantelli_low.gt(0).any().item<bool>());
    EXPECT_LT(tail.cantelli_high.min().item<double>(), 0.5);  // a bound that says something
    if (inject == Inject::mul)
      EXPECT_TRUE(tail.hoeffding.ge(measured - slack).all().item<bool>());
    else
      EXPECT_FALSE(tail.hoeffding.defined());
    // With two classes there is one rival, and (a) is exact up to the normal approximation.
    EXPECT_NEAR(tail.gaussian.mean().item<double>(), measured.mean().item<double>(), 0.01);
  }
}

TEST(MarginTail, T15ErrorGrowsWithGammaForAdd) {
  double before = -1;
  for (const double gamma : {0.0, 0.1, 0.3, 1.0, 3.0}) {
    LinearScene scene(2, Inject::add, gamma, 8.0);
    const auto tail = scene.predict(0.5);
    const at::Tensor right = tail.margin_mean.gt(0);
    const double error = tail.gaussian.masked_select(right).mean().item<double>();
    EXPECT_GT(error, before) << gamma;
    EXPECT_LT(error, 0.5);
    before = error;
  }
}

// Without any effect of the key the prediction is what the network does without a key.
TEST(MarginTail, NoStrengthNoSpread) {
  for (const auto inject : {Inject::add, Inject::mul}) {
    LinearScene scene(3, inject, 0.0, 2.0);
    const auto tail = scene.predict(0.5);
    const at::Tensor wrong = scene.model.forward(scene.x, Injection::none()).logits.argmax(1).ne(scene.labels);
    EXPECT_TRUE(at::equal(tail.jacobian, wrong.to(at::kDouble)));
    EXPECT_TRUE(at::equal(tail.gaussian, wrong.to(at::kDouble)));
  }
}

// The linear model under given keys is the network where the network is linear.
TEST(MarginTail, LinearScoresOfGivenKeys) {
  for (const auto inject : {Inject::add, Inject::mul}) {
    LinearScene scene(3, inject, 2.0, 2.0);
    const MarginProbe probe(scene.model, scene.space, scene.judge());
    const auto linear = linearise(probe, scene.x, {perturbation(scene.space.kind(), 1.0)});
    const at::Tensor keys = at::randn({4, width}, at::kDouble);
    const at::Tensor scores = linear_scores(linear, scene.space.kind(), {keys});
    for (std::int64_t i = 0; i < 4; ++i) {
      const at::Tensor exact = scene.model.forward(scene.x, scene.space.injection({keys.narrow(0, i, 1)})).logits;
      EXPECT_LT((scores.select(1, i) - exact).abs().max().item<double>(), 1e-9);
    }
  }
}

// Keys of the law, drawn by torch's generator, against a gradient with a part on the mean direction.
TEST(MarginTail, ShiftAndSpreadOfValidKeys) {
  torch::manual_seed(30);
  const auto config = LinearScene::config(Inject::add, 1.0);
  const at::Tensor rows = std::get<0>(at::linalg_qr(at::randn({784, 32}, at::kDouble))).t().contiguous();
  auto wide = config;
  wide.m = 32;
  const KeySpace space(wide, Basis{{rows}});
  const at::Tensor g = at::randn({1, 784}, at::kDouble) + 3 * space.slots()[0].mean_direction;
  const auto shift = span_shift({g}, space, {0.5}, std::sqrt(0.75));
  at::Tensor keys = at::rand({20000, 32}, at::kDouble).matmul(rows);
  keys = keys * (0.5 * std::sqrt(784.0) / keys.norm(2, {1}, true));
  const at::Tensor moved = keys.mv(g[0]);
  EXPECT_NEAR(moved.mean().item<double>() / shift.valid_mean.item<double>(), 1, 0.02);
  EXPECT_NEAR(moved.var().item<double>() / shift.valid_variance.item<double>(), 1, 0.35);  // cosine and spread vary too
  const at::Tensor wrong = (0.5 * at::randn({20000, 784}, at::kDouble)).mv(g[0]);
  EXPECT_NEAR(wrong.var().item<double>() / shift.wrong_variance.item<double>(), 1, 0.05);
}

}  // namespace
}  // namespace spankey::diagnose_tail_test
