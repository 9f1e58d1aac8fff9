// Resident steps against train_step(): the same weights and optimiser state bit by bit, over several epochs. Also when
// a step is run, recorded and replayed: the host's side of a captured step, without a device.
#include "train/resident_step.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "spankey/models/named_tensor.h"
#include "support/thread_communicator.h"
#include "train/resources.h"
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
  auto parts =
      std::make_unique<TrainingParts>(experiment, basis, resolve_shards(config, communicator.size()), communicator);
  auto& all = *parts;
  std::optional<ResidentStep> resident;
  if (flow == Flow::resident) {
    auto source = make_resident_source(experiment, all.keys());
    if (change) change(source);
    resident.emplace(std::move(parts), std::move(source), make_eager_graph(), communicator);
  }
  experiment.model->train();
  Trained trained;
  for (Cursor at; at.epoch < config.train.epochs; ++at.epoch) {
    for (at.step = 0; at.step < all.steps_per_epoch(); ++at.step, ++at.global_step) {
      const double lr = learning_rate(config.optim, {at.epoch, config.train.epochs, at.step, all.steps_per_epoch()});
      if (!resident) {
        trained.figures.push_back(all.step(all.load(at.epoch, at.step), at, lr, false));
        continue;
      }
      const auto known = resident->step(at, lr, [] { return false; });
      trained.figures.insert(trained.figures.end(), known.begin(), known.end());
    }
  }
  trained.digest = to_hex(weights_digest(*experiment.model)) + to_hex(weights_digest(all.optimizer_state(), {}));
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
    EXPECT_EQ(resident.figures[i].samples, stepwise.figures[i].samples) << i;
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
        Case{"uniform", 1, {"deny.mode=BU", "deny.on=[\"wrong\", \"none\"]", "deny.feature_weight=0.5"}},
        Case{"uniform_without_key", 2, {"deny.mode=U", "deny.on=[\"none\"]"}},
        Case{"smoothed_and_averaged", 1, {"train.label_smoothing=0.1", "train.ema_decay=0.9", "optim.warmup_steps=11"}},
        Case{"smoothed_and_averaged_2",
             2,
             {"train.label_smoothing=0.1", "train.ema_decay=0.9", "optim.warmup_steps=11", "dist.reduction=elastic",
              "dist.shards=4"}},
        Case{"elastic_1", 1, {"dist.reduction=elastic", "dist.shards=2"}},
        Case{"elastic_2", 2, {"dist.reduction=elastic", "dist.shards=2"}},
        Case{"mlp", 1, {"model.name=mlp", "data.file=builtin:argmax", "deny.mode=C", "key.m=4", "key.layers=[0]"}},
        Case{"batch_norm",
             1,
             {"model.name=small_resnet", "data.limit=22", "train.global_batch=4", "train.epochs=2", "key.layers=[0]",
              "train.ema_decay=0.5"}}),
    [](const auto& instance) { return instance.param.name; });

// Records what it is asked for. Like a device it executes nothing while it captures.
class RecordingGraph : public DeviceGraph {
 public:
  explicit RecordingGraph(std::string& calls) : calls_(calls) {}
  void capture(const std::function<void()>& work) override {
    calls_ += 'c';
    work_ = work;
  }
  void replay() override {
    calls_ += 'r';
    work_();
  }
  void use(const std::function<void()>& work) override {
    calls_ += 'e';
    work();
  }

 private:
  std::string& calls_;
  std::function<void()> work_;
};

TEST(CapturedWork, IsEagerThreeTimesThenCapturedOnceThenReplayed) {
  std::string calls;
  CapturedWork work(std::make_unique<RecordingGraph>(calls));
  int steps = 0;
  for (int i = 1; i <= 6; ++i) {
    work.run({.batch = 32, .denies = true}, [&steps] { ++steps; });
    EXPECT_EQ(steps, i);  // each call is one step: capturing moves nothing
  }
  EXPECT_EQ(calls, "eeecrrr");
}

TEST(CapturedWork, OtherConstantsGiveTheGraphUp) {
  for (const CapturedWork::Constants& other :
       {CapturedWork::Constants{.batch = 32, .denies = false}, {.batch = 31, .denies = true}}) {
    std::string calls;
    CapturedWork work(std::make_unique<RecordingGraph>(calls));
    std::string done;
    const auto run = [&](CapturedWork::Constants constants, char name, int times) {
      for (int i = 0; i < times; ++i) work.run(constants, [&done, name] { done += name; });
    };
    run({.batch = 32, .denies = true}, 'a', 5);
    run(other, 'b', 5);
    run({.batch = 32, .denies = true}, 'a', 1);  // nothing is kept of a graph that was given up
    EXPECT_EQ(calls,
              "eeecrr"
              "eeecrr"
              "e");
    EXPECT_EQ(done, "aaaaabbbbba");  // a replay of the old graph would write a among the b
  }
}

TEST(CapturedWork, WorkBesideTheGraphLeavesIt) {
  std::string calls;
  CapturedWork work(std::make_unique<RecordingGraph>(calls));
  int beside = 0;
  for (int i = 0; i < 5; ++i) {
    work.run({.batch = 8}, [] {});
    if (i == 1 || i == 4) work.run_uncaptured([&] { ++beside; });
  }
  work.run({.batch = 8}, [] {});
  EXPECT_EQ(calls, "eeeecrrer");
  EXPECT_EQ(beside, 2);
}

TEST(CapturedWork, WithoutADeviceAReplayCallsTheFunctionAgain) {
  CapturedWork work(make_eager_graph());
  int steps = 0;
  for (int i = 0; i < 7; ++i) work.run({.batch = 1}, [&steps] { ++steps; });
  EXPECT_EQ(steps, 7);
}

// Steps of one rank until its figures are read, by how many there are each time.
std::vector<std::size_t> readings(const Config& config, std::int64_t steps) {
  const auto experiment = make_experiment(config);
  const auto communicator = std::move(make_thread_communicators(1)[0]);
  const auto stepper = make_stepper(experiment, make_basis(config.key, experiment.key_dims, 42), 1, *communicator);
  std::vector<std::size_t> read;
  bool stop = false;
  for (Cursor at; at.global_step < steps; ++at.global_step) {
    const auto known = stepper->step(at, 0.01, [&stop] { return stop; });
    if (++at.step == stepper->parts().steps_per_epoch()) at = {at.epoch + 1, 0, at.global_step};
    if (known.empty()) continue;
    read.push_back(known.size());
    for (const auto& figures : known) EXPECT_EQ(figures.stop_requested, stop);
    stop = true;  // from the second reading on
  }
  return read;
}

TEST(Stepper, FiguresAreKnownAfterEachStepOfTheHostAndNowAndThenOfTheDevice) {
  const auto config = [](std::vector<std::string> more) {
    more.insert(more.end(), {"data.limit=56", "train.global_batch=2", "dist.threads=1", "deny.mode=none"});
    return parse_config("", "test", more);
  };
  EXPECT_EQ(readings(config({}), 5), (std::vector<std::size_t>{1, 1, 1, 1, 1}));
  const std::string on = "train.capture=on";
  EXPECT_EQ(readings(config({on}), 38), (std::vector<std::size_t>{10, 10, 8, 2})) << "28 steps an epoch";
  EXPECT_EQ(readings(config({on, "checkpoint.every_steps=7"}), 20), (std::vector<std::size_t>{7, 3, 4, 6}));
  EXPECT_EQ(readings(config({on, "dist.audit_every_steps=6"}), 12), (std::vector<std::size_t>{6, 4, 2}));
}

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
