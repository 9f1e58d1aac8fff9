// train.ema_decay: the average against its definition in float64, over ranks, and from the middle of a run.
#include "train/averaged_weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "dist/rank_threads.h"
#include "train/checkpoint.h"
#include "train/resources.h"
#include "train/resume.h"
#include "train/training_parts.h"

namespace spankey::averaged_weights_test {
namespace {

Config config_of(std::vector<std::string> more) {
  more.insert(more.begin(), {"model.name=small_resnet", "data.limit=16", "train.global_batch=4", "key.layers=[0]",
                             "deny.mode=B", "dist.threads=1", "dist.reduction=elastic", "dist.shards=2"});
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
      EXPECT_TRUE(parts.step(parts.load(at.epoch, at.step), at, 1e-2, false).finite);
    }
  }

  // Copies of the network's tensors by name, in float64.
  std::map<std::string, at::Tensor> tensors() const {
    std::map<std::string, at::Tensor> found;
    for (const auto& group : {named_parameters(*experiment.model), named_buffers(*experiment.model)})
      for (const auto& [name, value] : group) found[name] = value.detach().to(at::kDouble).clone();
    return found;
  }

  std::string digest() {
    return to_hex(weights_digest(*experiment.model)) + to_hex(weights_digest(parts.optimizer_state(), {}));
  }

  std::string averaged_digest() {
    const WithAveragedWeights published(parts.average());
    return to_hex(weights_digest(*experiment.model));
  }
};

std::string trained(int ranks, const Config& config, std::int64_t steps) {
  std::vector<std::string> digests(static_cast<std::size_t>(ranks));
  test::run_ranks(ranks, [&](Communicator& communicator) {
    Rank rank(config, communicator);
    rank.take(0, steps);
    digests[static_cast<std::size_t>(communicator.rank())] = rank.digest() + rank.averaged_digest();
  });
  for (const auto& one : digests) EXPECT_EQ(one, digests[0]);
  return digests[0];
}

constexpr std::int64_t steps = 5;

TEST(AveragedWeights, FollowTheirDefinition) {
  constexpr double decay = 0.75;
  const auto self = std::move(make_thread_communicators(1)[0]);
  Rank rank(config_of({"train.ema_decay=0.75"}), *self);
  auto expected = rank.tensors();
  for (std::int64_t step = 0; step < steps; ++step) {
    rank.take(step, step + 1);
    for (const auto& [name, now] : rank.tensors()) expected[name] = decay * expected[name] + (1 - decay) * now;
  }
  const auto trained = rank.tensors();
  double moved = 0;
  {
    const WithAveragedWeights published(rank.parts.average());
    const auto averaged = rank.tensors();
    ASSERT_EQ(averaged.size(), expected.size());
    for (const auto& [name, value] : averaged) {
      const double size = 1e-12 + expected[name].abs().max().item<double>();
      EXPECT_LT((value - expected[name]).abs().max().item<double>() / size, 1e-6) << name;
      moved = std::max(moved, (value - trained.at(name)).abs().max().item<double>());
    }
    EXPECT_TRUE(std::any_of(averaged.begin(), averaged.end(),
                            [](const auto& tensor) { return tensor.first.ends_with(".running_mean"); }));
  }
  EXPECT_GT(moved, 1e-3);  // negative control: the average is not the weights
  for (const auto& [name, value] : rank.tensors()) EXPECT_TRUE(at::equal(value, trained.at(name))) << name;
}

TEST(AveragedWeights, AreTheSameBitsForAnyNumberOfRanks) {
  const auto one = trained(1, config_of({"train.ema_decay=0.9"}), steps);
  EXPECT_EQ(trained(2, config_of({"train.ema_decay=0.9"}), steps), one);
  EXPECT_NE(trained(2, config_of({"train.ema_decay=0.8"}), steps), one);  // negative control
}

TEST(AveragedWeights, LeaveTheTrainingAlone) {
  const auto self = std::move(make_thread_communicators(1)[0]);
  Rank with(config_of({"train.ema_decay=0.9"}), *self), without(config_of({}), *self);
  with.take(0, steps);
  without.take(0, steps);
  EXPECT_EQ(without.parts.average(), nullptr);
  EXPECT_EQ(to_hex(weights_digest(*with.experiment.model)), to_hex(weights_digest(*without.experiment.model)));
  EXPECT_NE(with.averaged_digest(), without.averaged_digest());
  EXPECT_EQ(without.averaged_digest(), to_hex(weights_digest(*without.experiment.model)));
}

Checkpoint checkpoint_of(Rank& rank) {
  Checkpoint checkpoint;
  checkpoint.parameters = named_parameters(*rank.experiment.model);
  checkpoint.buffers = named_buffers(*rank.experiment.model);
  checkpoint.optimizer = rank.parts.optimizer_state();
  return decode_checkpoint(encode_checkpoint(checkpoint), "memory");
}

TEST(AveragedWeights, GoOnFromACheckpointToTheSameBits) {
  const auto config = config_of({"train.ema_decay=0.9"});
  const auto self = std::move(make_thread_communicators(1)[0]);
  Rank first(config, *self), second(config, *self);
  first.take(0, 2);
  const auto checkpoint = checkpoint_of(first);
  restore_tensors(checkpoint.parameters, named_parameters(*second.experiment.model), "parameters");
  restore_tensors(checkpoint.buffers, named_buffers(*second.experiment.model), "buffers");
  restore_tensors(checkpoint.optimizer, second.parts.optimizer_state(), "optimizer");
  second.parts.optimizer().set_steps(2);
  second.take(2, steps);
  EXPECT_EQ(second.digest() + second.averaged_digest(), trained(1, config, steps));
}

TEST(AveragedWeights, ArePublishedByACheckpointThatHasThem) {
  const auto self = std::move(make_thread_communicators(1)[0]);
  for (const bool averages : {true, false}) {
    Rank rank(config_of({averages ? "train.ema_decay=0.9" : "train.ema_decay=0"}), *self);
    rank.take(0, steps);
    const auto checkpoint = checkpoint_of(rank);
    const auto weights = published_weights(checkpoint);
    EXPECT_EQ(to_hex(weights_digest(weights.parameters, weights.buffers)), rank.averaged_digest());
    const auto live = to_hex(weights_digest(checkpoint.parameters, checkpoint.buffers));
    EXPECT_EQ(live != rank.averaged_digest(), averages);
    EXPECT_EQ(live, to_hex(weights_digest(*rank.experiment.model)));
  }
}

}  // namespace
}  // namespace spankey::averaged_weights_test
