// deny.adversarial_steps in whole training steps: the key against finite differences of the whole batch, the bits over
// ranks, and a run that goes on from the middle.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "dist/rank_threads.h"
#include "spankey/models/named_tensor.h"
#include "train/resident_step.h"
#include "train/resources.h"
#include "train/resume.h"
#include "train/training_parts.h"

namespace spankey::adversarial_step_test {
namespace {

Config config_of(std::vector<std::string> more) {
  more.insert(more.begin(), {"model.name=mlp", "data.file=builtin:argmax", "data.limit=160", "train.global_batch=32",
                             "key.m=4", "key.layers=[0, 1]", "deny.mode=BU", "deny.weight=1", "dist.threads=1",
                             "dist.reduction=elastic", "dist.shards=4", "deny.adversarial_steps=2"});
  return parse_config("", "test", more);
}

// Everything that a rank trains with.
struct Rank {
  Experiment experiment;
  TrainingParts parts;

  Rank(const Config& config, Communicator& communicator)
      : experiment(make_experiment(config)),
        parts(experiment, make_basis(config.key, experiment.key_dims, 42), resolve_shards(config, communicator.size()),
              communicator) {
    experiment.model->train();
  }

  void take(std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) {
      const Cursor at{i / parts.steps_per_epoch(), i % parts.steps_per_epoch(), i};
      EXPECT_TRUE(parts.step(parts.load(at.epoch, at.step), at, 1e-3, false).finite);
    }
  }

  std::string digest() {
    return to_hex(weights_digest(*experiment.model)) + to_hex(weights_digest(parts.optimizer_state(), {}));
  }
};

constexpr std::int64_t steps = 8;  // of five an epoch

std::string trained(int ranks, const Config& config) {
  std::vector<std::string> digests(static_cast<std::size_t>(ranks));
  test::run_ranks(ranks, [&](Communicator& communicator) {
    Rank rank(config, communicator);
    rank.take(0, steps);
    digests[static_cast<std::size_t>(communicator.rank())] = rank.digest();
  });
  for (const auto& one : digests) EXPECT_EQ(one, digests[0]);
  return digests[0];
}

double cross_entropy(Model& model, const Batch& batch, const Injection& key, at::ScalarType type) {
  return at::cross_entropy_loss(model.forward(batch.x.to(type), key).logits, batch.labels).item<double>();
}

// The sign of each partial derivative from central differences in float64, where it is not tiny.
TEST(AdversarialStep, MovesTheKeyAgainstTheSlopeOfTheWholeBatch) {
  const auto config = config_of({"deny.adversarial_steps=1", "deny.adversarial_lr=0.05"});
  const auto self = std::move(make_thread_communicators(1)[0]);
  Rank rank(config, *self);
  const auto exact = make_experiment(config);
  exact.model->to(at::kDouble);
  const auto batch = rank.parts.load(0, 0);
  const auto wrong = rank.parts.keys().wrong(0, 0, batch.samples);
  const auto before = rank.digest();
  const auto moved = adversarial_key(rank.parts.step_parts(), batch, wrong);
  EXPECT_EQ(rank.digest(), before);

  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> keys, slopes;
  for (const auto layer : config.key.layers) keys.push_back(wrong.keys_at(layer).to(at::kDouble).clone());
  const auto loss = [&] { return cross_entropy(*exact.model, batch, wrong.with_keys(keys), at::kDouble); };
  constexpr double h = 1e-5;
  for (auto& key : keys) {
    slopes.push_back(at::zeros_like(key));
    for (std::int64_t i = 0; i < key.numel(); ++i) {
      key[0][i] += h;
      const double above = loss();
      key[0][i] -= 2 * h;
      const double slope = (above - loss()) / (2 * h);
      key[0][i] += h;
      if (std::abs(slope) > 1e-9) slopes.back()[0][i] = slope > 0 ? 1.0 : -1.0;
    }
    EXPECT_GT(slopes.back().ne(0).sum().item<std::int64_t>(), key.numel() / 2);
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    at::Tensor expected = keys[i] - 0.05 * keys[i].square().mean().sqrt() * slopes[i];
    expected *= keys[i].norm() / expected.norm();
    const at::Tensor got = moved.keys_at(config.key.layers[i]).to(at::kDouble);
    EXPECT_LT((got - expected).abs().max().item<double>(), 1e-6) << i;
  }
}

TEST(AdversarialStep, OpensTheNetworkFurtherAndLeavesItAlone) {
  const auto config = parse_config("", "test",
                                   {"model.name=small_resnet", "data.limit=16", "train.global_batch=16",
                                    "key.layers=[0]", "deny.mode=B", "deny.adversarial_steps=5", "dist.threads=1"});
  const auto self = std::move(make_thread_communicators(1)[0]);
  Rank rank(config, *self);
  const auto batch = rank.parts.load(0, 0);
  const auto wrong = rank.parts.keys().wrong(0, 0, batch.samples);
  const auto before = rank.digest();
  const auto moved = adversarial_key(rank.parts.step_parts(), batch, wrong);
  EXPECT_EQ(rank.digest(), before);  // BatchNorm's running statistics among them
  const at::NoGradGuard no_grad;
  const double first = cross_entropy(*rank.experiment.model, batch, wrong, at::kFloat);
  EXPECT_LT(cross_entropy(*rank.experiment.model, batch, moved, at::kFloat), first);
}

TEST(AdversarialStep, GivesTheSameBitsForAnyNumberOfRanks) {
  const std::vector<std::string> locks = {
      "deny.families=['gaussian', 'near_miss', 'scaled', 'negated', 'interpolated']", "deny.feature_weight=0.5",
      "deny.on=['wrong', 'none']"};
  const auto one = trained(1, config_of(locks));
  for (const int ranks : {2, 4}) EXPECT_EQ(trained(ranks, config_of(locks)), one) << ranks;
  // Negative control: without the tree of shards the number of ranks shows.
  auto fast = locks;
  fast.insert(fast.end(), {"dist.reduction=fast", "dist.shards=0"});
  EXPECT_NE(trained(1, config_of(fast)), trained(4, config_of(fast)));
}

TEST(AdversarialStep, WithoutStepsNothingChanges) {
  const auto none = trained(1, config_of({"deny.adversarial_steps=0"}));
  EXPECT_EQ(trained(1, config_of({"deny.adversarial_steps=0", "deny.adversarial_lr=0.7"})), none);
  EXPECT_NE(trained(1, config_of({"deny.adversarial_steps=1"})), none);
  EXPECT_NE(trained(1, config_of({"deny.adversarial_steps=0", "deny.feature_weight=0.5"})), none);
}

TEST(AdversarialStep, GoesOnFromTheMiddleToTheSameBits) {
  const auto config = config_of({"deny.feature_weight=0.5"});
  const auto self = std::move(make_thread_communicators(1)[0]);
  Rank first(config, *self), second(config, *self);
  first.take(0, 3);
  restore_tensors(named_parameters(*first.experiment.model), named_parameters(*second.experiment.model), "parameters");
  restore_tensors(first.parts.optimizer_state(), second.parts.optimizer_state(), "optimizer");
  second.parts.optimizer().set_steps(3);
  second.take(3, steps);
  EXPECT_EQ(second.digest(), trained(1, config));
}

TEST(AdversarialStep, IsNoStepOfAResidentRun) {
  const auto experiment = make_experiment(config_of({}));
  const auto self = std::move(make_thread_communicators(1)[0]);
  EXPECT_THAT(resident_why_not(experiment, *self).value_or(""), testing::HasSubstr("deny.adversarial_steps"));
}

}  // namespace
}  // namespace spankey::adversarial_step_test
