// The flat optimisers against torch's own, parameter by parameter, in float64.
#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/optim.h>

#include <cmath>

#include "support/expect_error.h"

namespace spankey::optimizer_test {
namespace {

struct Case {
  const char* name;
  std::function<std::unique_ptr<torch::optim::Optimizer>(std::vector<at::Tensor>)> reference;
  const char* overrides;
};

class OptimizerTest : public testing::TestWithParam<Case> {};

TEST_P(OptimizerTest, EqualsTorch) {
  const auto config = parse_config(std::string("[optim]\nlr = 0.05\n") + GetParam().overrides, "test");
  auto a = at::sin(at::arange(7, at::kDouble)), b = at::cos(at::arange(12, at::kDouble)).view({3, 4});
  const auto weights = at::cat({a.flatten(), b.flatten()});
  const auto gradients = at::zeros_like(weights);
  const auto optimizer = make_optimizer(config, weights, gradients);
  std::vector<at::Tensor> parameters{a.clone().requires_grad_(), b.clone().requires_grad_()};
  const auto reference = GetParam().reference(parameters);
  for (int step = 0; step < 6; ++step) {
    const auto g = at::sin(at::arange(19, at::kDouble) * (step + 1));
    gradients.copy_(g);
    parameters[0].mutable_grad() = g.narrow(0, 0, 7).clone();
    parameters[1].mutable_grad() = g.narrow(0, 7, 12).view({3, 4}).clone();
    const double lr = step < 3 ? 0.05 : 0.01;
    for (auto& group : reference->param_groups()) group.options().set_lr(lr);
    optimizer->step(rate_tensor(lr, at::kCPU));
    reference->step();
    const auto expected = at::cat({parameters[0].detach().flatten(), parameters[1].detach().flatten()});
    EXPECT_LT((weights - expected).abs().max().item<double>(), 1e-13) << "step " << step;
  }
}

template <class Optimizer, class Options>
auto reference(Options options) {
  return [options](std::vector<at::Tensor> parameters) -> std::unique_ptr<torch::optim::Optimizer> {
    return std::make_unique<Optimizer>(parameters, options);
  };
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, OptimizerTest,
    testing::Values(Case{"adam", reference<torch::optim::Adam>(torch::optim::AdamOptions(0.05)), "name = 'adam'"},
                    Case{"adam_decay",
                         reference<torch::optim::Adam>(torch::optim::AdamOptions(0.05).weight_decay(0.1).betas({0.8,
                                                                                                                0.95})),
                         "name = 'adam'\nweight_decay = 0.1\nbetas = [0.8, 0.95]"},
                    Case{"adamw", reference<torch::optim::AdamW>(torch::optim::AdamWOptions(0.05).weight_decay(0.05)),
                         "name = 'AdamW'\nweight_decay = 0.05"},
                    Case{"sgd_plain", reference<torch::optim::SGD>(torch::optim::SGDOptions(0.05).weight_decay(5e-4)),
                         "name = 'sgd'\nmomentum = 0\nweight_decay = 5e-4"},
                    Case{"sgd", reference<torch::optim::SGD>(torch::optim::SGDOptions(0.05).momentum(0.9)),
                         "name = 'sgd'\nmomentum = 0.9"},
                    Case{"sgd_nesterov",
                         reference<torch::optim::SGD>(
                             torch::optim::SGDOptions(0.05).momentum(0.9).nesterov(true).weight_decay(5e-4)),
                         "name = 'sgd'\nmomentum = 0.9\nnesterov = true\nweight_decay = 5e-4"}),
    [](const auto& instance) { return instance.param.name; });

// torch starts with buf = g, ours with buf = momentum * 0 + g (Sutskever et al. 2013): the same bits, zeros included.
TEST(Optimizer, SgdNeedsNoFirstStep) {
  for (const bool nesterov : {false, true}) {
    const auto config = parse_config(
        std::string("[optim]\nname = 'sgd'\nweight_decay = 5e-4\nnesterov = ") + (nesterov ? "true" : "false"), "test");
    const auto weights = at::sin(at::arange(1003)), gradients = at::zeros_like(weights);
    const auto expected = weights.clone(), momentum = at::full_like(weights, 7.0);
    const auto optimizer = make_optimizer(config, weights, gradients);
    for (int step = 0; step < 4; ++step) {
      gradients.copy_(at::cos(at::arange(1003) * (step + 3)).relu());  // half of them zero
      optimizer->step(rate_tensor(0.05, at::kCPU));
      at::_fused_sgd_({expected}, {gradients}, {momentum}, 5e-4, 0.9, 0.05, 0.0, nesterov, false,
                      /*is_first_step=*/step == 0);
      ASSERT_TRUE(weights.equal(expected)) << "step " << step << ", Nesterov " << nesterov;
      ASSERT_TRUE(optimizer->state()[0].flat.equal(momentum)) << "step " << step << ", Nesterov " << nesterov;
    }
  }
}

// Negative control of the above: without a first step, a buffer that is not zero shows.
TEST(Optimizer, SgdShowsAMomentumThatIsNotZero) {
  const auto config = parse_config("[optim]\nname = 'sgd'\n", "test");
  const auto weights = at::ones({8}), gradients = at::ones({8}), expected = at::ones({8});
  const auto optimizer = make_optimizer(config, weights, gradients);
  optimizer->state()[0].flat.fill_(1e-3);
  optimizer->step(rate_tensor(0.05, at::kCPU));
  at::_fused_sgd_({expected}, {gradients}, {at::zeros({8})}, 0.0, 0.9, 0.05, 0.0, false, false, /*is_first_step=*/true);
  EXPECT_FALSE(weights.equal(expected));
}

// The rate is read from the tensor at the time of the update: one tensor serves all steps.
TEST(Optimizer, ReadsTheRateFromTheTensor) {
  for (const char* name : {"adam", "adamw", "sgd"}) {
    const auto config = parse_config(std::string("[optim]\nname = '") + name + "'\n", "test");
    const auto gradients = at::sin(at::arange(9)), one = at::ones({9}), other = at::ones({9});
    const auto first = make_optimizer(config, one, gradients), second = make_optimizer(config, other, gradients);
    const auto lr = rate_tensor(0.5, at::kCPU);
    for (const double rate : {0.5, 0.1, 1.0 / 3}) {
      lr.fill_(rate);
      first->step(lr);
      second->step(rate_tensor(rate, at::kCPU));
      EXPECT_TRUE(one.equal(other)) << name << " " << rate;
    }
  }
}

TEST(Optimizer, UnknownNameListsTheKnownOnes) {
  Config config;
  config.optim.name = "adm";
  EXPECT_ERROR(make_optimizer(config, at::zeros({1}), at::zeros({1})), ExitCode::bad_input,
               testing::AllOf(testing::HasSubstr("optim.name = \"adm\""), testing::HasSubstr("\"adamw\" or \"sgd\""),
                              testing::HasSubstr("did you mean 'adam'?")));
}

TEST(ClipGradients, ScalesDownAndOnlyDown) {
  auto gradients = at::full({4}, 3.0, at::kDouble);  // norm 6
  EXPECT_TRUE(clip_gradients(gradients, 0.0));
  EXPECT_TRUE(clip_gradients(gradients, 10.0));
  EXPECT_DOUBLE_EQ(gradients[0].item<double>(), 3.0);
  EXPECT_TRUE(clip_gradients(gradients, 2.0));
  EXPECT_NEAR(gradients.norm().item<double>(), 2.0, 1e-5);
}

TEST(ClipGradients, SeesWhatIsNotFinite) {
  for (const auto type : {at::kFloat, at::kDouble})
    for (const double limit : {0.0, 1.0})
      for (const double bad : {INFINITY, -INFINITY, NAN}) {
        auto gradients = at::ones({5}, type);
        EXPECT_TRUE(clip_gradients(gradients, limit));
        gradients[3] = bad;
        EXPECT_FALSE(clip_gradients(gradients, limit)) << limit << " " << bad;
      }
}

}  // namespace
}  // namespace spankey::optimizer_test
