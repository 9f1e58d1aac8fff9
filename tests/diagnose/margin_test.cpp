#include "diagnose/margin.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <cmath>

#include "diagnose/multiplier.h"
#include "train/toy_model.h"

namespace spankey::diagnose_margin_test {
namespace {

using test::ToyModel;

constexpr std::int64_t inputs = 12, hidden = 40, samples = 64;

KeyConfig key_config(const std::vector<std::int64_t>& layers, Inject inject, double gamma) {
  KeyConfig config;
  config.m = 4;
  config.layers = layers;
  config.inject = inject;
  config.gamma = gamma;
  config.layout = Layout::per_layer;
  return config;
}

struct Scene {
  ToyModel model;
  KeySpace space;
  at::Tensor x, labels;
  std::vector<at::Tensor> from, to;

  Scene(const KeyConfig& config, std::int64_t classes, const ToyModel::Activation& activation)
      : model(seeded({hidden, inputs}, 1) / std::sqrt(double(inputs)),
              seeded({classes, hidden}, 2) / std::sqrt(double(hidden)), activation),
        space(config, make_basis(config, widths(config), 5)),
        x(seeded({samples, inputs}, 3)),
        labels(at::arange(samples, at::kLong).remainder(classes)) {
    std::uint64_t seed = 10;
    for (const auto& slot : space.slots()) {
      from.push_back(0.5 * seeded({1, slot.width()}, seed++));
      to.push_back(0.5 * seeded({1, slot.width()}, seed++));
    }
  }

  static at::Tensor seeded(at::IntArrayRef shape, std::uint64_t seed) {
    torch::manual_seed(seed);
    return at::randn(shape, at::kDouble);
  }
  static std::vector<std::int64_t> widths(const KeyConfig& config) {
    std::vector<std::int64_t> result;
    for (const auto layer : config.layers) result.push_back(layer == 0 ? inputs : hidden);
    return result;
  }

  MarginProbe probe(std::int64_t classes) { return {model, space, Judge{classes, RejectKind::none}}; }
  at::Tensor difference(const MarginProbe& p) const { return p.margin(x, labels, to) - p.margin(x, labels, from); }
};

double largest(const at::Tensor& t) {
  return t.abs().max().item<double>();
}

double mean_size(const at::Tensor& t) {
  return t.abs().mean().item<double>();
}

// Two classes: the rival cannot change, so the margin of a linear network is linear in what enters at one point.
TEST(MarginChange, T8ExactForLinearNetworks) {
  for (const auto& layers : {std::vector<std::int64_t>{0}, std::vector<std::int64_t>{1}})
    for (const auto inject : {Inject::add, Inject::mul}) {
      Scene scene(key_config(layers, inject, 2.0), 2, test::identity);
      const auto probe = scene.probe(2);
      const at::Tensor change = scene.difference(probe);
      EXPECT_GT(mean_size(change), 0.1);
      EXPECT_LT(largest(probe.first_order(scene.x, scene.labels, scene.from, scene.to) - change), 1e-6);
    }
  Scene both(key_config({0, 1}, Inject::add, 2.0), 2, test::identity);
  const auto probe = both.probe(2);
  EXPECT_LT(largest(probe.first_order(both.x, both.labels, both.from, both.to) - both.difference(probe)), 1e-6);
  // Two multipliers in a row are a product, of which the first order is not enough and the path is.
  Scene product(key_config({0, 1}, Inject::mul, 1.5), 2, test::identity);
  const auto twice = product.probe(2);
  const at::Tensor change = product.difference(twice);
  EXPECT_GT(largest(twice.first_order(product.x, product.labels, product.from, product.to) - change), 1e-2);
  EXPECT_LT(largest(twice.path_integral(product.x, product.labels, product.from, product.to) - change), 1e-6);
}

// The margin against its definition, and the gradient by the key against finite differences.
TEST(MarginChange, T9FiniteDifferenceErrorFallsWithTheSquare) {
  for (const auto inject : {Inject::add, Inject::mul}) {
    Scene scene(key_config({0, 1}, inject, 0.6), 2, [](const at::Tensor& h) { return h.tanh(); });
    const auto probe = scene.probe(2);
    const auto step = [&](double eps) {
      auto to = scene.from;
      for (std::size_t s = 0; s < to.size(); ++s) to[s] = to[s] + eps * (scene.to[s] - scene.from[s]);
      const at::Tensor exact =
          probe.margin(scene.x, scene.labels, to) - probe.margin(scene.x, scene.labels, scene.from);
      return mean_size(probe.first_order(scene.x, scene.labels, scene.from, to) - exact);
    };
    const double coarse = step(0.1), fine = step(0.05);
    EXPECT_GT(coarse, 1e-6);
    EXPECT_NEAR(coarse / fine, 4.0, 0.4) << to_string(inject);

    const auto gradients = probe.margin_gradient(scene.x, scene.labels, scene.from);
    constexpr double eps = 1e-5;
    for (std::size_t s = 0; s < gradients.size(); ++s) {
      auto up = scene.from, down = scene.from;
      const at::Tensor direction = scene.to[s];
      up[s] = up[s] + eps * direction;
      down[s] = down[s] - eps * direction;
      const at::Tensor numeric =
          (probe.margin(scene.x, scene.labels, up) - probe.margin(scene.x, scene.labels, down)) / (2 * eps);
      EXPECT_LT(largest(gradients[s].mv(direction[0]) - numeric), 1e-8);
    }
  }
}

// Kinks are what quadrature is bad at: few of them are crossed by keys of the strength that is trained with, many by
// strong ones, which the smooth network gets.
TEST(MarginChange, T10PathIntegralIsComplete) {
  struct Case {
    Inject inject;
    double gamma;
    Multiplier multiplier;
  };
  const Case smooth[] = {{Inject::add, 1.0, Multiplier::clamp},
                         {Inject::mul, 0.5, Multiplier::clamp},
                         {Inject::mul, 2.0, Multiplier::clamp},
                         {Inject::mul, 1.2, Multiplier::exp},
                         {Inject::mul, 0.8, Multiplier::sym}};
  const Case kinked[] = {{Inject::add, 0.15, Multiplier::clamp}, {Inject::mul, 0.2, Multiplier::clamp}};
  const auto check = [](const Case& c, const ToyModel::Activation& activation, double allowed) {
    auto config = key_config({0, 1}, c.inject, c.gamma);
    config.multiplier = c.multiplier;
    Scene scene(config, 2, activation);
    const auto probe = scene.probe(2);
    const at::Tensor change = scene.difference(probe);
    const auto error = [&](const at::Tensor& predicted) { return mean_size(predicted - change) / mean_size(change); };
    const auto where = fmt::format("{} {} {}", to_string(c.inject), c.gamma, to_string(c.multiplier));
    EXPECT_LT(error(probe.path_integral(scene.x, scene.labels, scene.from, scene.to)), allowed) << where;
    EXPECT_GT(error(probe.first_order(scene.x, scene.labels, scene.from, scene.to)), 5 * allowed) << where;
  };
  for (const auto& c : smooth)
    check(
        c, [](const at::Tensor& h) { return h.tanh(); }, 1e-3);
  for (const auto& c : smooth)
    check(
        c, [](const at::Tensor& h) { return at::gelu(h); }, 1e-3);
  for (const auto& c : kinked)
    check(
        c, [](const at::Tensor& h) { return h.relu(); }, 1e-2);
}

TEST(MarginChange, T11SlopeOfTheMultiplier) {
  for (const auto multiplier : {Multiplier::clamp, Multiplier::exp, Multiplier::sym})
    for (const double gamma : {0.5, 0.95, 1.7}) {
      const InjectionKind kind{Inject::mul, gamma, multiplier};
      for (double k = -2.95; k < 3; k += 0.1) {
        constexpr double eps = 1e-6;
        const double s = multiplier_value(kind, k);
        // The network's own operator has the same values and the same gradient.
        const at::Tensor key = at::full({1, 1}, k, at::kDouble).requires_grad_();
        const at::Tensor factor = Injection::of_keys({0}, {key}, kind).apply(0, at::ones({1, 1}, at::kDouble));
        factor.backward();
        EXPECT_NEAR(factor.item<double>(), s, 1e-12);
        EXPECT_NEAR(key.grad().item<double>(), multiplier_slope(kind, k), 1e-12);
        if (multiplier == Multiplier::clamp && (std::abs(s - 0.1) < 1e-4 || std::abs(s - 2) < 1e-4)) {
          EXPECT_TRUE(multiplier_slope(kind, k) == 0 || s == 0.1 || s == 2);
          continue;
        }
        const double numeric = (multiplier_value(kind, k + eps) - multiplier_value(kind, k - eps)) / (2 * eps);
        EXPECT_NEAR(multiplier_slope(kind, k), numeric, 1e-7) << to_string(multiplier) << " " << gamma << " " << k;
      }
    }
  const InjectionKind strong{Inject::mul, 2.0, Multiplier::clamp};
  EXPECT_EQ(multiplier_slope(strong, 2.0), 0.0);
  EXPECT_EQ(multiplier_slope(strong, -2.0), 0.0);
}

// Three classes and a reject class or head, by hand.
TEST(Judge, MarginsByHand) {
  Output output;
  output.logits = at::tensor({3.0, 1.0, 2.5, 2.75, 0.0, 4.0, 1.0, -1.0}, at::kDouble).view({2, 4});
  const at::Tensor labels = at::tensor({0, 1}, at::kLong);
  const auto margins = [&](const Judge& judge) { return judge.margin(judge.scores(output), labels); };
  EXPECT_TRUE(at::equal(margins({3, RejectKind::none}), at::tensor({0.5, 3.0}, at::kDouble)));
  EXPECT_TRUE(at::equal(margins({3, RejectKind::reject_class}), at::tensor({0.25, 3.0}, at::kDouble)));
  output.logits = output.logits.narrow(1, 0, 3);
  output.reject = at::tensor({-7.0, 2.0}, at::kDouble);
  EXPECT_TRUE(at::equal(margins({3, RejectKind::reject_head}), at::tensor({0.5, -2.0}, at::kDouble)));
  // (n, keys, columns) at once
  const Judge judge{3, RejectKind::reject_head};
  const at::Tensor twice = judge.scores(output).unsqueeze(1).expand({2, 2, 4});
  EXPECT_TRUE(at::equal(judge.margin(twice, labels).select(1, 1), margins(judge)));
}

}  // namespace
}  // namespace spankey::diagnose_margin_test
