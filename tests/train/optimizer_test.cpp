// The flat optimisers against torch's own, parameter by parameter, in float64.
#include "train/optimizer.h"

#include <gtest/gtest.h>
#include <torch/optim.h>

#include <cmath>

#include "support/expect_error.h"

namespace spankey {
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
    optimizer->step(lr);
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
                    Case{"sgd", reference<torch::optim::SGD>(torch::optim::SGDOptions(0.05).momentum(0.9)),
                         "name = 'sgd'\nmomentum = 0.9"},
                    Case{"sgd_nesterov",
                         reference<torch::optim::SGD>(
                             torch::optim::SGDOptions(0.05).momentum(0.9).nesterov(true).weight_decay(5e-4)),
                         "name = 'sgd'\nmomentum = 0.9\nnesterov = true\nweight_decay = 5e-4"}),
    [](const auto& instance) { return instance.param.name; });

TEST(Optimizer, UnknownNameListsTheKnownOnes) {
  const auto config = parse_config("[optim]\nname = 'adm'\n", "c.toml");
  EXPECT_ERROR(make_optimizer(config, at::zeros({1}), at::zeros({1})), ExitCode::bad_input,
               testing::AllOf(testing::HasSubstr("c.toml:2"), testing::HasSubstr("adam, adamw, sgd")));
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
}  // namespace spankey
