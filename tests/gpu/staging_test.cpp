// Two ranks that share a GPU, under mpiexec: their tensors go through pinned host memory and MPI. Asked of the CPU in
// the GPU's place as well.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "dist/cuda_module.h"
#include "dist/mpi_communicator.h"
#include "train/placement.h"
#include "train/resident_source.h"
#include "train/training_parts.h"

namespace spankey::staging_test {
namespace {

class Staging : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::string why_not;
    if (GetParam() == std::string("cuda") && !open_cuda_module(why_not)) GTEST_SKIP() << why_not;
    placement_ = place(config(GetParam()), *world_);
  }

  Config config(const std::string& device) const {
    return parse_config("", "test",
                        {"train.device=" + device, "data.limit=96", "train.global_batch=24", "train.epochs=3",
                         "key.layers=[0, 2]", "deny.mode=B", "dist.threads=1", "dist.backend=mpi"});
  }
  // 1, 2, ... 7 times rank + 1, on the device.
  at::Tensor mine(at::ScalarType type) const { return times(rank_ + 1, type).to(placement_.device); }
  static at::Tensor times(std::int64_t factor, at::ScalarType type) {
    return (at::arange(1, 8, at::kLong) * factor).to(type);
  }

  const std::unique_ptr<Communicator> world_ = MpiCommunicator::world(/*timeout_seconds=*/60);
  const int rank_ = world_->rank();
  Placement placement_;
};

TEST_P(Staging, TensorsArriveOnTheirDevice) {
  ASSERT_EQ(world_->size(), 2);
  for (const auto type : {at::kFloat, at::kDouble, at::kLong}) {
    const auto expect = [&](const at::Tensor& tensor, const at::Tensor& expected) {
      EXPECT_EQ(tensor.device(), placement_.device);
      EXPECT_TRUE(at::equal(tensor.cpu(), expected)) << tensor << expected;
    };
    auto tensor = mine(type);
    world_->all_reduce(tensor);
    expect(tensor, times(3, type));
    tensor = mine(type);
    world_->all_reduce(tensor, ReduceOp::max);
    expect(tensor, times(2, type));
    tensor = mine(type);
    world_->broadcast(tensor, 1);
    expect(tensor, times(2, type));
    expect(world_->all_gather(mine(type)), at::stack({times(1, type), times(2, type)}));
    tensor = at::zeros_like(mine(type));
    world_->exchange(mine(type), tensor, 1 - rank_);
    expect(tensor, times(2 - rank_, type));
    // A part of a larger tensor, as a bucket of the gradients is.
    auto whole = at::cat({mine(type), mine(type), mine(type)});
    auto middle = whole.narrow(0, 7, 7);
    world_->all_reduce(middle);
    expect(whole, at::cat({times(rank_ + 1, type), times(3, type), times(rank_ + 1, type)}));
  }
}

TEST_P(Staging, RanksOnOneGpuAreTold) {
  if (!placement_.device.is_cuda()) GTEST_SKIP() << "only GPUs are not to be shared";
  std::string why_not;
  if (open_cuda_module(why_not)->devices().size() > 1) GTEST_SKIP() << "there is a GPU for every rank";
  EXPECT_TRUE(placement_.shared);
}

std::vector<double> losses(const Config& config, const Placement& placement, Communicator& world) {
  const auto experiment = make_experiment(config, placement);
  TrainingParts parts(experiment, make_basis(config.key, experiment.key_dims, 42), 2, world);
  experiment.model->train();
  std::vector<double> losses;
  for (Cursor at; at.epoch < config.train.epochs; ++at.epoch)
    for (at.step = 0; at.step < parts.steps_per_epoch(); ++at.step)
      losses.push_back(parts.step(parts.load(at.epoch, at.step), at, config.optim.lr, false).loss);
  return losses;
}

TEST_P(Staging, TwoRanksTrainAsOnTheCpu) {
  const auto got = losses(config(GetParam()), placement_, *world_);
  const auto expected = losses(config("cpu"), Placement(), *world_);
  ASSERT_EQ(got.size(), 12U);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-3) << "step " << i;
  EXPECT_GT(std::abs(got[0] - got[11]), 1e-3);  // it does train
}

INSTANTIATE_TEST_SUITE_P(Devices, Staging, testing::Values("cpu", "cuda"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace spankey::staging_test
