// Two ranks under mpiexec and small tensors on their device: what tests of collectives on GPUs have in common. The
// parameter is the device, "cuda" or the CPU in its place.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "dist/mpi_communicator.h"
#include "train/placement.h"

namespace spankey::test {

class TwoRanks : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { ASSERT_EQ(world_->size(), 2); }

  // 1, 2, ... 7 times rank + 1, on the device.
  at::Tensor mine(at::ScalarType type) const { return times(rank_ + 1, type).to(placement_.device); }
  static at::Tensor times(std::int64_t factor, at::ScalarType type) {
    return (at::arange(1, 8, at::kLong) * factor).to(type);
  }
  void expect(const at::Tensor& tensor, const at::Tensor& expected) const {
    EXPECT_EQ(tensor.device(), placement_.device);
    EXPECT_TRUE(at::equal(tensor.cpu(), expected)) << tensor << expected;
  }

  // Sums, maxima and minima over both ranks, and the sum of a part of a larger tensor, as a bucket of gradients is.
  void expect_all_reduces(Communicator& over, at::ScalarType type) const {
    auto sum = mine(type), most = mine(type), least = mine(type);
    auto whole = at::cat({mine(type), mine(type), mine(type)});
    auto middle = whole.narrow(0, 7, 7);
    over.all_reduce(sum);
    over.all_reduce(most, ReduceOp::max);
    over.all_reduce(least, ReduceOp::min);
    over.all_reduce(middle);
    over.join();
    expect(sum, times(3, type));
    expect(most, times(2, type));
    expect(least, times(1, type));
    expect(whole, at::cat({times(rank_ + 1, type), times(3, type), times(rank_ + 1, type)}));
  }

  void expect_other_collectives(Communicator& over, at::ScalarType type) const {
    auto tensor = at::zeros_like(mine(type));
    over.exchange(mine(type), tensor, 1 - rank_);
    expect(tensor, times(2 - rank_, type));
    tensor = mine(type);
    over.broadcast(tensor, 1);
    expect(tensor, times(2, type));
    expect(over.all_gather(mine(type)), at::stack({times(1, type), times(2, type)}));
  }

  const std::unique_ptr<Communicator> world_ = MpiCommunicator::world(/*timeout_seconds=*/60);
  const int rank_ = world_->rank();
  Placement placement_;
};

}  // namespace spankey::test
