// The passes of a step stacked as one batch against passes one after the other, in a network with BatchNorm.
#include "train/train_step.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "dist/rank_threads.h"
#include "spankey/models/named_tensor.h"
#include "support/thread_communicator.h"
#include "train/training_parts.h"

namespace spankey::train_step_test {
namespace {

// All parameters and buffers after a step, one after the other.
at::Tensor after_step(const std::string& on, bool stack_passes) {
  const auto config =
      parse_config("", "test",
                   {"model.name=small_resnet", "data.limit=16", "train.global_batch=16", "optim.name=sgd",
                    "optim.lr=0.05", "deny.mode=B", "key.layers=[0, 2]", "dist.threads=1", "deny.on=" + on});
  const auto experiment = make_experiment(config);
  const auto self = std::move(make_thread_communicators(1)[0]);
  TrainingParts parts(experiment, make_basis(config.key, experiment.key_dims, 42), 1, *self);
  parts.step_parts().stack_passes = stack_passes;
  experiment.model->train();
  EXPECT_TRUE(parts.step(parts.load(0, 0), {}, 0.05, false).finite);
  std::vector<at::Tensor> flat;
  for (const auto& group : {named_parameters(*experiment.model), named_buffers(*experiment.model)})
    for (const auto& tensor : group) flat.push_back(tensor.value.detach().flatten().to(at::kDouble));
  return at::cat(flat);
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(TrainStep, StackedPassesKeepTheirOwnBatchNormStatistics) {
  const auto separate = after_step("[\"wrong\"]", false), both = after_step("[\"wrong\", \"none\"]", false);
  EXPECT_LT(distance(after_step("[\"wrong\"]", true), separate), 1e-4);
  EXPECT_LT(distance(after_step("[\"wrong\", \"none\"]", true), both), 1e-4);
  EXPECT_GT(distance(separate, both), 1e-3);  // negative control: a pass more or less shows
}

// The deny loss of a first step that denies only the pass without a key, against that pass worked out here.
TEST(TrainStep, DeniesThePassWithoutAKeyAlone) {
  const auto deny = [](const std::string& feature_weight) {
    const auto config =
        parse_config("", "test",
                     {"model.name=mlp", "data.file=builtin:argmax", "data.limit=32", "key.m=4", "train.global_batch=32",
                      "deny.mode=U", "deny.on=['none']", "dist.threads=1", "deny.feature_weight=" + feature_weight});
    const auto experiment = make_experiment(config);
    const auto self = std::move(make_thread_communicators(1)[0]);
    TrainingParts parts(experiment, make_basis(config.key, experiment.key_dims, 42), 1, *self);
    const auto batch = parts.load(0, 0);
    const auto correct = parts.keys().correct(0, 0, batch.samples)(0, 32);
    const auto ok = experiment.model->forward(batch.x, correct),
               none = experiment.model->forward(batch.x, Injection::none());
    double features = 0;
    for (std::int64_t i = 0; i < 32; ++i) {
      const at::Tensor same = ok.features.index({batch.labels.eq(batch.labels[i])});
      const at::Tensor d = same.mean(0) - ok.features.mean(0), f = none.features[i];
      features += std::max(0.0, (f.dot(d) / (f.norm() * d.norm())).item<double>()) / 32;
    }
    EXPECT_EQ(none.logits.size(1), 5);  // no reject class
    const double u = -none.logits.log_softmax(1).mean().item<double>() - std::log(5.0);
    EXPECT_NEAR(parts.step(batch, {}, 0.05, false).deny, u + std::stod(feature_weight) * features, 1e-5);
    return features;
  };
  EXPECT_GT(deny("0"), 0.01);
  deny("0.5");
}

// Whether each of two ranks calls its step finite, when one weight of the last rank is `bad` before it.
std::vector<char> finite_on_two_ranks(double bad) {
  const auto config = parse_config("", "test",
                                   {"model.name=small_cnn", "data.limit=16", "train.global_batch=16", "deny.mode=B",
                                    "key.layers=[0, 2]", "dist.threads=1"});
  std::vector<char> finite(2);
  test::run_ranks(2, [&](Communicator& communicator) {
    const auto experiment = make_experiment(config);
    TrainingParts parts(experiment, make_basis(config.key, experiment.key_dims, 42), 2, communicator);
    if (communicator.rank() == 1) {
      const at::NoGradGuard no_grad;
      experiment.model->named_parameters()["fc.bias"][0] = bad;
    }
    experiment.model->train();
    finite[static_cast<std::size_t>(communicator.rank())] = parts.step(parts.load(0, 0), {}, 0.05, false).finite;
  });
  return finite;
}

TEST(TrainStep, WhatIsNotFiniteOnOneRankIsSeenByAllInTheSameStep) {
  EXPECT_EQ(finite_on_two_ranks(std::numeric_limits<double>::quiet_NaN()), (std::vector<char>{0, 0}));
  EXPECT_EQ(finite_on_two_ranks(std::numeric_limits<double>::infinity()), (std::vector<char>{0, 0}));
  EXPECT_EQ(finite_on_two_ranks(0.1), (std::vector<char>{1, 1}));
}

// What is chosen on the CPU: the bits of networks with BatchNorm come from separate passes.
TEST(TrainStep, OnTheCpuPassesAreStackedWhereSamplesDoNotMeet) {
  const auto self = std::move(make_thread_communicators(1)[0]);
  for (const auto& [model, stacked] : {std::pair("small_cnn", true), std::pair("small_resnet", false)}) {
    const auto config = parse_config("", "test", {std::string("model.name=") + model});
    const auto experiment = make_experiment(config);
    TrainingParts parts(experiment, make_basis(config.key, experiment.key_dims, 42), 1, *self);
    EXPECT_EQ(parts.step_parts().stack_passes, stacked) << model;
  }
}

}  // namespace
}  // namespace spankey::train_step_test
