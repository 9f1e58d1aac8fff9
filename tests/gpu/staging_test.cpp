// Two ranks that share a GPU, under mpiexec: their tensors go through pinned host memory and MPI. Asked of the CPU in
// the GPU's place as well.
#include <cmath>
#include <string>
#include <vector>

#include "dist/cuda_module.h"
#include "gpu/two_ranks.h"
#include "train/training_parts.h"

namespace spankey::staging_test {
namespace {

class Staging : public test::TwoRanks {
 protected:
  void SetUp() override {
    TwoRanks::SetUp();
    std::string why_not;
    if (GetParam() == std::string("cuda") && !open_cuda_module(why_not)) GTEST_SKIP() << why_not;
    placement_ = place(config(GetParam()), *world_);
  }

  Config config(const std::string& device) const {
    return parse_config("", "test",
                        {"train.device=" + device, "data.limit=96", "train.global_batch=24", "train.epochs=3",
                         "key.layers=[0, 2]", "deny.mode=B", "dist.threads=1", "dist.backend=mpi",
                         // Several buckets, which would leave during backward where that were safe.
                         "dist.bucket_bytes=1024", "dist.overlap=on"});
  }
};

TEST_P(Staging, TensorsArriveOnTheirDevice) {
  for (const auto type : {at::kFloat, at::kDouble, at::kLong}) {
    expect_all_reduces(*world_, type);
    expect_other_collectives(*world_, type);
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
