// Whole trainings over NCCL, on one rank and on two, on LibTorch's CUDA code and the stand-in: captured, replayed,
// evaluated, checkpointed, resumed.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "dist/mpi_communicator.h"
#include "gpu/device_run.h"
#include "gpu/standin/networks.h"
#include "gpu/standin/standin.h"
#include "train/trainer.h"

namespace spankey::standin_run_test {
namespace {

using test::DeviceRun, test::Flow, test::Network, test::config_of, test::networks;
using testing::Contains, testing::HasSubstr, testing::IsEmpty;

class StandinRun : public testing::Test {
 protected:
  void SetUp() override { standin::restart(); }

  std::unique_ptr<Communicator> world() const { return MpiCommunicator::world(/*timeout_seconds=*/60); }
  // The same folder on every rank.
  std::filesystem::path run_folder(Communicator& world) {
    return world.broadcast_string((folder_ / "run").string(), 0);
  }

  const test::TemporaryFolder folder_;
};

class StandinRunOf : public StandinRun, public testing::WithParamInterface<std::tuple<Network, const char*>> {};

TEST_P(StandinRunOf, IsTrainedEvaluatedCheckpointedAndResumedWithoutAViolation) {
  const auto& [network, reduction] = GetParam();
  const auto host = world();
  const auto config = [&, &network = network, &reduction = reduction](int epochs) {
    return config_of(network, {"deny.mode=cplus", "deny.warmup_epochs=2", "dist.backend=nccl", "eval.every_epochs=1",
                               "eval.keys=2", "checkpoint.every_steps=5", "train.drop_last=true",
                               "train.epochs=" + std::to_string(epochs), std::string("dist.reduction=") + reduction});
  };
  TrainRequest request;
  request.config = config(2);
  request.run_directory = run_folder(*host);
  request.print_result = false;
  EXPECT_EQ(train(request, *host), ExitCode::done);
  const auto first = standin::counts();
  EXPECT_GT(first.replays, 0);
  EXPECT_EQ(first.collectives > 0, host->size() > 1);
  request.config = config(3);
  request.allow_change = true;
  EXPECT_EQ(train(request, *host), ExitCode::done);
  EXPECT_GT(standin::counts().replays, first.replays);
  if (host->rank() == 0) {
    EXPECT_TRUE(std::filesystem::exists(request.run_directory / "result.json"));
  }
  EXPECT_THAT(standin::violations(), IsEmpty());
  host->barrier();  // the folder is that of rank 0
}

INSTANTIATE_TEST_SUITE_P(Networks, StandinRunOf,
                         testing::Combine(testing::ValuesIn(networks), testing::Values("fast", "elastic")),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" + std::get<1>(instance.param);
                         });

const std::vector<std::string> over_nccl{"deny.mode=B", "dist.backend=nccl"};

// Ranks find each other once. What is split off a communicator uses the connections of the whole.
TEST_F(StandinRun, PartsOfACommunicatorAreSplitOff) {
  DeviceRun run(config_of(networks[1], over_nccl), Flow::captured, {}, world());
  EXPECT_EQ(standin::counts().bootstraps, 1);
  EXPECT_EQ(standin::nccl_communicators().size(), 2U);  // the reducer has a part of its own
  auto& whole = run.communicator();
  const auto reversed = whole.split(0, -whole.rank());
  EXPECT_EQ(reversed->rank(), whole.size() - 1 - whole.rank());
  const auto alone = whole.split(whole.rank(), 0);
  EXPECT_EQ(alone->size(), 1);
  EXPECT_EQ(standin::nccl_communicators().size(), 4U);
  const auto first = whole.split(whole.rank() == 0 ? 0 : -1, 0);
  EXPECT_EQ(first != nullptr, whole.rank() == 0);
  auto tensor = at::zeros({8}, at::TensorOptions(run.placement().device).dtype(at::kFloat));
  for (auto* communicator : {reversed.get(), alone.get(), &whole}) {
    communicator->all_reduce(tensor);
    communicator->join();
  }
  run.take(CapturedWork::eager_steps_before_capture + 1);
  EXPECT_EQ(standin::counts().bootstraps, 1);
  EXPECT_THAT(standin::violations(), IsEmpty());
}

// A sum that is started within the step and never waited for.
TEST_F(StandinRun, MutantAMissingJoinIsNoticed) {
  if (world()->size() == 1) GTEST_SKIP() << "NCCL puts nothing on the stream of a single rank";
  std::unique_ptr<Communicator> forgotten;
  DeviceRun run(
      config_of(networks[1], over_nccl), Flow::captured,
      [&](ResidentSource source) {
        source.assemble = [&, assemble = source.assemble](const at::Tensor& samples, const at::Tensor& position) {
          auto batch = assemble(samples, position);
          forgotten->all_reduce(batch.first);
          return batch;
        };
        return source;
      },
      world());
  forgotten = run.communicator().split(0, run.communicator().rank());
  run.take(CapturedWork::eager_steps_before_capture);
  EXPECT_THAT(standin::violations(), IsEmpty());
  EXPECT_THROW(run.take(1), std::exception);
  EXPECT_THAT(standin::violations(), Contains(HasSubstr("never joined")));
}

// A thread that asks NCCL for the state of its calls beside the communicator's own threads, without their lock.
TEST_F(StandinRun, MutantASecondPollerOfNcclIsNoticed) {
  DeviceRun run(config_of(networks[1], over_nccl), Flow::captured, {}, world());
  run.take(2);
  EXPECT_THAT(standin::violations(), IsEmpty());
  std::atomic<bool> done{false};
  std::thread poller([&] {
    while (!done)
      for (void* communicator : standin::nccl_communicators()) {
        ncclResult_t state = ncclSuccess;
        ncclCommGetAsyncError(static_cast<ncclComm_t>(communicator), &state);
      }
  });
  auto tensor = at::zeros({8}, at::TensorOptions(run.placement().device).dtype(at::kFloat));
  const auto found = [] { return !standin::violations().empty(); };
  for (int i = 0; i < 2000 && !found(); ++i) {
    run.communicator().all_reduce(tensor);
    run.communicator().join();
  }
  done = true;
  poller.join();
  EXPECT_THAT(standin::violations(), Contains(HasSubstr("two threads are in one NCCL communicator")));
}

}  // namespace
}  // namespace spankey::standin_run_test
