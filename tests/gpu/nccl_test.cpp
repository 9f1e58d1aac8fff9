// Two ranks over NCCL, each on a GPU of its own, under mpiexec. Asked of the CPU and MPI in their place as well, which
// must give the same answers.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>

#include "dist/cuda_module.h"
#include "gpu/two_ranks.h"

namespace spankey::nccl_test {
namespace {

class Nccl : public test::TwoRanks {
 protected:
  void SetUp() override {
    TwoRanks::SetUp();
    if (GetParam() == std::string("cpu")) {
      over_ = world_->split(0, rank_);
      return;
    }
    std::string why_not;
    auto* module = open_cuda_module(why_not);
    if (!module) GTEST_SKIP() << why_not;
    if (module->devices().size() < 2) GTEST_SKIP() << "NCCL asks for a GPU for each rank";
    const auto config = parse_config("", "test", {"train.device=cuda", "dist.backend=nccl"});
    placement_ = place(config, *world_);
    over_ = make_device_communicator(config, placement_, *world_);
    ASSERT_NE(over_, nullptr);
  }

  static constexpr std::array types{at::kFloat, at::kDouble, at::kLong, at::kByte};
  std::unique_ptr<Communicator> over_;
};

TEST_P(Nccl, EachRankHasAGpuOfItsOwn) {
  EXPECT_EQ(over_->node_rank(), rank_);
  if (placement_.device.is_cpu()) GTEST_SKIP() << "a CPU is shared";
  EXPECT_FALSE(placement_.shared);
  EXPECT_EQ(placement_.device.index(), rank_);
  EXPECT_TRUE(over_->stream_ordered());
}

TEST_P(Nccl, AllReduces) {
  for (const auto type : types) expect_all_reduces(*over_, type);
}

// The collective runs behind what the stream was given before, and what comes after join() behind the collective.
TEST_P(Nccl, KeepsTheOrderOfTheStream) {
  auto tensor = at::zeros({1 << 22}, at::TensorOptions(placement_.device).dtype(at::kFloat));
  for (int i = 0; i <= 100 * rank_; ++i) tensor.add_(1);  // 1 and 101: rank 1 is the later one
  over_->all_reduce(tensor);
  over_->join();
  tensor.mul_(2);
  EXPECT_EQ(tensor.min().item<float>(), 204.0F);
  EXPECT_EQ(tensor.max().item<float>(), 204.0F);
}

TEST_P(Nccl, ExchangesBroadcastsAndGathers) {
  for (const auto type : types) expect_other_collectives(*over_, type);
}

TEST_P(Nccl, TensorsOfTheHostGoOverTheHost) {
  auto tensor = times(rank_ + 1, at::kLong);
  over_->all_reduce(tensor);
  EXPECT_TRUE(at::equal(tensor, times(3, at::kLong)));
  over_->barrier();
}

TEST_P(Nccl, Splits) {
  const auto reversed = over_->split(0, -rank_);
  EXPECT_EQ(reversed->rank(), 1 - rank_);
  auto tensor = mine(at::kFloat);
  reversed->broadcast(tensor, 0);  // its rank 0 is rank 1 of the world
  expect(tensor, times(2, at::kFloat));

  const auto alone = over_->split(rank_, 0);
  EXPECT_EQ(alone->size(), 1);
  EXPECT_EQ(device_of_rank(*alone, 2), rank_);
  tensor = mine(at::kFloat);
  alone->all_reduce(tensor);
  alone->join();
  expect(tensor, times(rank_ + 1, at::kFloat));

  const auto part = over_->split(rank_ == 0 ? 0 : -1, 0);
  EXPECT_EQ(part != nullptr, rank_ == 0);
  // The parent serves on.
  tensor = mine(at::kFloat);
  over_->all_reduce(tensor);
  over_->join();
  expect(tensor, times(3, at::kFloat));
}

INSTANTIATE_TEST_SUITE_P(Devices, Nccl, testing::Values("cpu", "cuda"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace spankey::nccl_test
