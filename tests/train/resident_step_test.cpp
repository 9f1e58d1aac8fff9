// Resident steps against train_step(): the same weights and optimiser state bit by bit, over several epochs.
#include "train/resident_step.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "support/thread_communicator.h"
#include "train/named_tensor.h"
#include "train/resident_source.h"
#include "train/schedule.h"
#include "train/training_parts.h"

namespace spankey::resident_step_test {
namespace {

struct Trained {
  std::string digest;  // of weights, buffers and optimiser state
  std::vector<StepFigures> figures;
};

enum class Flow { stepwise, resident };
using Change = std::function<void(ResidentSource&)>;

// One rank's part of two epochs, from the middle of the first one where `begin` says so.
Trained train_on(Communicator& communicator, const Config& config, Flow flow, const Change& change) {
  const auto experiment = make_experiment(config);
  const auto basis = make_basis(config.key, experiment.key_dims, 42);
  TrainingParts parts(experiment, basis, resolve_shards(config, communicator.size()), communicator);
  std::optional<ResidentStep> resident;
  if (flow == Flow::resident) {
    auto source = make_resident_source(experiment, basis);
    if (change) change(source);
    resident.emplace(parts.step_parts(), parts.sampler(), std::move(source), make_eager_graph());
  }
  experiment.model->train();
  Trained trained;
  for (Cursor at; at.epoch < config.train.epochs; ++at.epoch) {
    const double lr = learning_rate(config.optim, config.train.epochs, at.epoch);
    for (at.step = 0; at.step < parts.steps_per_epoch(); ++at.step) {
      if (resident)
        resident->step(at, lr);
      else
        trained.figures.push_back(parts.step(parts.load(at.epoch, at.step), at, lr, false));
    }
    if (!resident) continue;
    const auto read = resident->collect();
    trained.figures.insert(trained.figures.end(), read.begin(), read.end());
  }
  trained.digest = to_hex(weights_digest(*experiment.model)) + to_hex(weights_digest(parts.optimizer_state(), {}));
  return trained;
}

Trained train_on(int ranks, const Config& config, Flow flow, const Change& change = nullptr) {
  auto communicators = make_thread_communicators(ranks, 60);
  std::vector<Trained> trained(communicators.size());
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < trained.size(); ++r)
    threads.emplace_back([&, r] { trained[r] = train_on(*communicators[r], config, flow, change); });
  for (auto& thread : threads) thread.join();
  for (const auto& one : trained) EXPECT_EQ(one.digest, trained[0].digest);
  return trained[0];
}

struct Case {
  const char* name;
  int ranks;
  std::vector<std::string> overrides;
};

// Seven steps of 24 samples and one of 8; the rate falls and the deny weight grows after the first epoch.
Config config_of(const Case& which) {
  std::vector<std::string> overrides{
      "data.limit=176",       "train.epochs=3", "train.global_batch=24", "train.drop_last=false", "optim.schedule=step",
      "optim.milestones=[1]", "deny.mode=B",    "deny.warmup_epochs=2",  "key.layers=[0, 1]",     "dist.threads=1"};
  overrides.insert(overrides.end(), which.overrides.begin(), which.overrides.end());
  return parse_config("", "test", overrides);
}

class ResidentStepTest : public testing::TestWithParam<Case> {};

TEST_P(ResidentStepTest, GivesTheBitsOfTrainStep) {
  const auto config = config_of(GetParam());
  const auto stepwise = train_on(GetParam().ranks, config, Flow::stepwise);
  const auto resident = train_on(GetParam().ranks, config, Flow::resident);
  EXPECT_EQ(resident.digest, stepwise.digest);
  ASSERT_EQ(resident.figures.size(), stepwise.figures.size());
  ASSERT_GT(resident.figures.size(), 2 * CapturedWork::eager_steps_before_capture);
  for (std::size_t i = 0; i < stepwise.figures.size(); ++i) {
    EXPECT_EQ(resident.figures[i].loss, stepwise.figures[i].loss) << i;
    EXPECT_EQ(resident.figures[i].ce, stepwise.figures[i].ce) << i;
    EXPECT_EQ(resident.figures[i].deny, stepwise.figures[i].deny) << i;
    EXPECT_TRUE(resident.figures[i].finite);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Runs, ResidentStepTest,
    testing::Values(
        Case{"small_cnn", 1, {"data.augment=affine"}},
        Case{"batch_rescale", 1, {"key.rescale=batch", "deny.on=[\"wrong\", \"none\"]"}},
        Case{"sgd_clipped", 1, {"optim.name=sgd", "optim.lr=0.05", "optim.nesterov=true", "optim.clip_norm=0.5"}},
        Case{"drawn_labels", 1, {"deny.mode=BS"}},
        Case{"drawn_labels_2", 2, {"deny.mode=BS", "dist.reduction=elastic", "dist.shards=4"}},
        Case{"elastic_1", 1, {"dist.reduction=elastic", "dist.shards=2"}},
        Case{"elastic_2", 2, {"dist.reduction=elastic", "dist.shards=2"}},
        Case{"mlp", 1, {"model.name=mlp", "data.file=builtin:argmax", "deny.mode=C", "key.m=4", "key.layers=[0]"}},
        Case{"batch_norm",
             1,
             {"model.name=small_resnet", "data.limit=22", "train.global_batch=4", "train.epochs=2", "key.layers=[0]"}}),
    [](const auto& instance) { return instance.param.name; });

// Two ranks with a GPU each, and two that share one or ask for MPI; nothing here asks the GPU.
TEST(ResidentSource, NeedsGradientsThatStayOnTheGpu) {
  auto experiment = make_experiment(config_of({"", 2, {}}));
  const auto communicators = make_thread_communicators(2);
  EXPECT_EQ(resident_why_not(experiment, *communicators[0]), std::nullopt);
  experiment.placement.device = at::kCUDA;
  EXPECT_THAT(resident_why_not(experiment, *communicators[0]).value_or(""), testing::HasSubstr("host's memory"));
  EXPECT_EQ(resident_why_not(experiment, *make_thread_communicators(1)[0]), std::nullopt);
}

// Negative controls: what a step must read anew from the device, standing still.
TEST(ResidentStep, APositionThatStandsStillShows) {
  const auto config = config_of({"", 1, {}});
  const auto right = train_on(1, config, Flow::stepwise).digest;
  const auto frozen = at::zeros({2}, at::kLong);
  EXPECT_NE(right, train_on(1, config, Flow::resident, [&](ResidentSource& source) {
                     source.correct = [correct = source.correct, frozen](const at::Tensor& samples, const at::Tensor&) {
                       return correct(samples, frozen);
                     };
                   }).digest);
  EXPECT_NE(right, train_on(1, config, Flow::resident, [&](ResidentSource& source) {
                     source.wrong = [wrong = source.wrong, frozen](const at::Tensor& samples, const at::Tensor&) {
                       return wrong(samples, frozen);
                     };
                   }).digest);
}

TEST(ResidentStep, KeysOfTheGlobalBatchAreDrawnOnceWhateverTheShards) {
  const auto config = config_of({"", 1, {"dist.reduction=elastic", "dist.shards=8", "key.rescale=batch"}});
  std::int64_t correct_draws = 0, wrong_draws = 0, shards = 0;
  const auto trained = train_on(1, config, Flow::resident, [&](ResidentSource& source) {
    source.correct = [&, correct = source.correct](const at::Tensor& samples, const at::Tensor& position) {
      ++correct_draws;
      return correct(samples, position);
    };
    source.wrong = [&, wrong = source.wrong](const at::Tensor& samples, const at::Tensor& position) {
      ++wrong_draws;
      return wrong(samples, position);
    };
    source.assemble = [&, assemble = source.assemble](const at::Tensor& samples, const at::Tensor& position) {
      ++shards;
      return assemble(samples, position);
    };
  });
  const auto steps = std::ssize(trained.figures);
  EXPECT_EQ(correct_draws, steps);
  EXPECT_EQ(wrong_draws, steps);
  EXPECT_EQ(shards, 8 * steps);
  EXPECT_EQ(trained.digest, train_on(1, config, Flow::stepwise).digest);
}

TEST(ResidentStep, AStepIsFoundNotFiniteWhenItsFiguresAreRead) {
  const auto config = config_of({"", 1, {"train.epochs=1"}});
  int batches = 0;
  const auto trained = train_on(1, config, Flow::resident, [&](ResidentSource& source) {
    source.assemble = [&batches, assemble = source.assemble](const at::Tensor& samples, const at::Tensor& position) {
      auto made = assemble(samples, position);
      if (++batches == 4) made.first.fill_(NAN);
      return made;
    };
  });
  ASSERT_EQ(trained.figures.size(), 8U);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(trained.figures[i].finite, i < 3) << i;
}

}  // namespace
}  // namespace spankey::resident_step_test
