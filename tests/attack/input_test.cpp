// One change for all inputs (I1): it is a key where keys are added to the input, and its gradients are right.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "attack/attacks/input_mask.h"
#include "spankey/models/registry.h"
#include "toy_run.h"

namespace spankey::input_test {
namespace {

using test::outcome_of;

at::Tensor draws(std::uint64_t sample, at::IntArrayRef shape) {
  at::Tensor values = at::empty(shape, at::kFloat);
  Stream({.seed = 12, .purpose = Purpose::test, .sample = sample})
      .fill_normal({values.mutable_data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  return values.to(at::kDouble);
}

// Steepest descent by hand.
void step(const at::Tensor& leaf, const at::Tensor& loss, double lr) {
  const auto gradient = torch::autograd::grad({loss}, {leaf})[0];
  const at::NoGradGuard no_grad;
  leaf.sub_(gradient, lr);
}

// With h + gamma k at the input, steps of lr on k from k0 are steps of gamma^2 lr on delta from gamma k0.
TEST(InputChange, FollowsAFreeKeyAtTheInputStepByStep) {
  constexpr double gamma = 0.7, lr = 0.4;
  auto experiment = test::untrained("[deny]\nmode='B'\n[key]\nlayers=[0]\ninject='add'\ngamma=0.7\n");
  auto& model = *experiment.model;
  model.to(at::kDouble);
  model.eval();
  for (const auto& parameter : model.parameters()) parameter.requires_grad_(false);
  const auto x = draws(0, {6, 1, 28, 28});
  const auto labels = at::arange(6, at::kLong);
  const auto key = draws(1, {1, 784}).requires_grad_(true);
  auto change = no_change("add", x.narrow(0, 0, 1));
  change.leaves[0].copy_(gamma * key.detach().view({1, 1, 28, 28}));
  change.leaves[0].requires_grad_(true);
  const auto keyed = [&] {
    return shipped_loss(model.forward(x, Injection::of_keys({0}, {key}, {Inject::add, gamma, Multiplier::clamp})),
                        labels, RejectKind::reject_class);
  };
  const auto moved = [&] {
    return shipped_loss(model.forward(change.of(x), Injection::none()), labels, RejectKind::reject_class);
  };
  const double before = keyed().item<double>();
  for (int i = 0; i < 12; ++i) {
    step(key, keyed(), lr);
    step(change.leaves[0], moved(), gamma * gamma * lr);
    const auto difference = gamma * key.detach().flatten() - change.leaves[0].detach().flatten();
    EXPECT_LT(difference.abs().max().item<double>(), 1e-12) << i;
  }
  EXPECT_LT(keyed().item<double>(), before - 1e-3);
  EXPECT_NEAR(keyed().item<double>(), moved().item<double>(), 1e-12);
}

TEST(InputChange, WithoutStepsNothingChanges) {
  for (const char* config : {test::mode_b, test::small_mlp}) {
    const auto run = test::untrained_run(config);
    const auto none = outcome_of(run, "O1", {}).at("access");
    for (const char* form : {"add", "mask", "authority"}) {
      const auto still = outcome_of(run, "I1", {.images = 4, .steps = 0, .variant = form});
      const auto moving = outcome_of(run, "I1", {.images = 4, .steps = 25, .variant = form});
      EXPECT_EQ(still.at("access"), none) << form;
      EXPECT_LT(moving.at("own_loss"), still.at("own_loss")) << form;
    }
  }
  const auto run = test::untrained_run(test::small_mlp);
  const auto trained = [&](const char* form) {
    return outcome_of(run, "I1", {.images = 4, .steps = 0, .variant = form}).at("cost").at("trained_parameters");
  };
  const auto width = run.experiment.dataset->info().sample_size();
  EXPECT_EQ(trained("mask"), width);
  EXPECT_EQ(trained("authority"), 2 * width);
}

// Central differences in float64, at single elements of small networks and along one direction of large ones.
void check_gradient(const std::string& name, const std::string& form, std::int64_t elements) {
  std::vector<std::int64_t> shape{1, 28, 28};
  if (name == "mlp") shape = {20};
  if (name == "resnet18" || name == "vit_tiny") shape = {3, 32, 32};
  const auto model = make_model(name, {.sample_shape = shape, .classes = 10, .reject_class = true});
  initialise(*model, 9);
  model->to(at::kDouble);
  model->eval();
  for (const auto& parameter : model->parameters()) parameter.requires_grad_(false);
  shape.insert(shape.begin(), 2);
  const auto x = draws(2, shape);
  const auto labels = at::tensor({3, 7}, at::kLong);
  auto change = no_change(form, x.narrow(0, 0, 1));
  for (std::size_t i = 0; i < change.leaves.size(); ++i) {
    // Masks stay away from 0 and 1, where the clamp has a corner.
    const auto values = draws(3 + i, change.leaves[i].sizes());
    change.leaves[i] = (i == 1 ? values.sigmoid() * 0.8 + 0.1 : values * 0.3).requires_grad_(true);
  }
  const auto loss = [&] {
    return shipped_loss(model->forward(change.of(x), Injection::none()), labels, RejectKind::reject_class) +
           change.penalty();
  };
  const auto gradients = torch::autograd::grad({loss()}, change.leaves);
  const at::NoGradGuard no_grad;
  const auto expect_slope = [&](std::size_t leaf, const at::Tensor& direction) {
    constexpr double h = 1e-6;
    const auto middle = change.leaves[leaf].clone();
    const auto value = [&](double by) {
      change.leaves[leaf].copy_(middle + by * direction);
      return loss().item<double>();
    };
    const double slope = (value(h) - value(-h)) / (2 * h);
    change.leaves[leaf].copy_(middle);
    const double expected = (gradients[leaf] * direction).sum().item<double>();
    EXPECT_NEAR(slope, expected,
                1e-5 * gradients[leaf].abs().max().item<double>() * direction.norm().item<double>() + 1e-9)
        << name << " " << form << " " << leaf;
    return expected;
  };
  double largest = 0.0;
  for (std::size_t leaf = 0; leaf < change.leaves.size(); ++leaf) {
    if (elements == 0) largest = std::max(largest, std::abs(expect_slope(leaf, draws(7, change.leaves[leaf].sizes()))));
    for (std::int64_t i = 0; i < elements; ++i) {
      const auto direction = at::zeros_like(change.leaves[leaf]);
      direction.view({-1})[(i * 7919 + 400) % direction.numel()] = 1.0;
      largest = std::max(largest, std::abs(expect_slope(leaf, direction)));
    }
  }
  EXPECT_GT(largest, 1e-6) << name << " " << form;
}

TEST(InputChange, GradientsOfEveryFormAndEveryNetwork) {
  at::set_num_threads(1);
  for (const char* form : {"add", "mask", "authority"}) {
    check_gradient("mlp", form, 20);
    check_gradient("small_cnn", form, 20);
  }
  for (const char* name : {"small_resnet", "resnet18", "vit_tiny"}) check_gradient(name, "authority", 0);
}

}  // namespace
}  // namespace spankey::input_test
