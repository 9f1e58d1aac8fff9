// MPI communicator under mpiexec. Every expectation depends on the rank: it fails where communication does nothing.
#include "dist/mpi_communicator.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>

#include "base/error.h"
#include "dist/backend.h"
#include "dist/cuda_module.h"

namespace spankey::mpi_communicator_test {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

constexpr std::array types{at::kFloat, at::kDouble, at::kLong, at::kByte};

// The parameter is the size of a piece: 24 bytes cut every tensor into many.
struct Mpi : testing::TestWithParam<std::int64_t> {
  std::unique_ptr<MpiCommunicator> world = MpiCommunicator::world(/*timeout_seconds=*/60, GetParam());
  const int rank = world->rank(), size = world->size();
  at::Tensor mine(at::ScalarType type) const { return (at::arange(1, 12, at::kLong) * (rank + 1)).to(type); }
  static at::Tensor times(std::int64_t factor, at::ScalarType type) {
    return (at::arange(1, 12, at::kLong) * factor).to(type);
  }
};
INSTANTIATE_TEST_SUITE_P(Pieces, Mpi, testing::Values(24, MpiCommunicator::default_piece_bytes));

TEST_P(Mpi, KnowsWhereItIs) {
  int world_rank = -1, world_size = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &world_size);
  EXPECT_EQ(rank, world_rank);
  EXPECT_EQ(size, world_size);
  EXPECT_EQ(world->local_rank(), rank);  // all ranks of this test share a node
  EXPECT_EQ(world->local_size(), size);
}

TEST_P(Mpi, BroadcastsFromEveryRoot) {
  for (int root = 0; root < size; ++root)
    for (const auto type : types) {
      auto tensor = mine(type);
      world->broadcast(tensor, root);
      EXPECT_TRUE(at::equal(tensor, times(root + 1, type)));
    }
}

TEST_P(Mpi, ReducesEveryType) {
  for (const auto type : types) {
    auto sum = mine(type), most = mine(type), least = mine(type);
    world->all_reduce(sum);
    world->all_reduce(most, ReduceOp::max);
    world->all_reduce(least, ReduceOp::min);
    EXPECT_TRUE(at::equal(sum, times(size * (size + 1) / 2, type)));
    EXPECT_TRUE(at::equal(most, times(size, type)));
    EXPECT_TRUE(at::equal(least, times(1, type)));
  }
}

TEST_P(Mpi, GathersInRankOrder) {
  for (const auto type : types) {
    const auto all = world->all_gather(mine(type).view({1, 11}));
    ASSERT_EQ(all.sizes(), (std::vector<std::int64_t>{size, 1, 11}));
    for (int other = 0; other < size; ++other) EXPECT_TRUE(at::equal(all[other][0], times(other + 1, type)));
  }
  EXPECT_EQ(world->all_gather(at::scalar_tensor(rank)).sizes(), (std::vector<std::int64_t>{size}));
  EXPECT_EQ(world->all_gather(at::empty({0})).numel(), 0);
}

TEST_P(Mpi, ExchangesWithThePeer) {
  const int peer = rank ^ 1;
  if (peer >= size) return;
  for (const auto type : types) {
    auto received = at::zeros({11}, type);
    world->exchange(mine(type), received, peer);
    EXPECT_TRUE(at::equal(received, times(peer + 1, type)));
  }
}

TEST_P(Mpi, BarrierWaitsForTheLast) {
  world->barrier();
  const auto start = std::chrono::steady_clock::now();
  if (rank == size - 1) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  world->barrier();
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(200));
}

TEST_P(Mpi, SplitsByColorInOrderOfKeys) {
  const auto part = world->split(rank % 2, -rank);
  ASSERT_NE(part, nullptr);
  const int members = rank % 2 == 0 ? (size + 1) / 2 : size / 2;
  EXPECT_EQ(part->size(), members);
  EXPECT_EQ(part->rank(), members - 1 - rank / 2);
  auto sum = at::full({1}, rank, at::kLong);
  part->all_reduce(sum);
  EXPECT_EQ(sum.item<std::int64_t>(), rank % 2 == 0 ? members * (members - 1) : members * members);
  // A split-off communicator does not mix with its parent.
  auto whole = at::ones({1});
  world->all_reduce(whole);
  EXPECT_EQ(whole.item<float>(), static_cast<float>(size));
}

// GPUs of this node, which has one for every rank, that the ranks take where `place` is their place on it.
std::size_t different_gpus(Communicator& world, int place) {
  const auto all = world.all_gather(at::scalar_tensor(choose_device(place, world.size()), at::kLong));
  const auto* first = all.const_data_ptr<std::int64_t>();
  return std::set<std::int64_t>(first, first + all.numel()).size();
}

TEST_P(Mpi, SplitsKeepThePlaceOnTheNode) {
  EXPECT_EQ(world->node_rank(), rank);
  EXPECT_EQ(world->node_size(), size);
  for (const int members : {1, 2}) {
    if (size % members != 0) continue;
    const auto group = world->split(rank / members, rank);
    const auto again = group->split(0, -rank);  // as for NCCL, and in another order
    EXPECT_EQ(group->local_rank(), rank % members);
    EXPECT_EQ(group->local_size(), members);
    for (const auto* part : {group.get(), again.get()}) {
      EXPECT_EQ(part->node_rank(), rank);
      EXPECT_EQ(part->node_size(), size);
    }
    EXPECT_EQ(different_gpus(*world, group->node_rank()), static_cast<std::size_t>(size));
    // Negative control: by their places in the groups all groups meet on the first GPUs.
    EXPECT_EQ(different_gpus(*world, group->local_rank()), static_cast<std::size_t>(members));
  }
}

TEST_P(Mpi, SplitLeavesOutNegativeColors) {
  const auto part = world->split(rank == 0 ? 0 : -1, 0);
  EXPECT_EQ(part != nullptr, rank == 0);
  EXPECT_EQ(part ? part->size() : 1, 1);
}

TEST_P(Mpi, BroadcastsTexts) {
  const int root = size - 1;
  EXPECT_EQ(world->broadcast_string("text of rank " + std::to_string(rank), root),
            "text of rank " + std::to_string(root));
  EXPECT_EQ(world->broadcast_string(rank == root ? "" : "lost", root), "");
}

TEST_P(Mpi, AgreeNamesTheRightRanksOnceAndEndsAll) {
  EXPECT_NO_THROW(world->agree(sha256("equal"), "the configuration"));
  if (size == 1) return;
  try {
    world->agree(sha256(rank == size - 1 ? "other" : "equal"), "the basis");
    ADD_FAILURE() << "a different digest passed";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ExitCode::run_failed);
    if (rank > 0) {
      EXPECT_STREQ(error.what(), "");
      return;
    }
    EXPECT_THAT(error.what(), AllOf(HasSubstr("the basis"), HasSubstr(fmt::format("rank {} has", size - 1))));
    for (int other = 1; other < size - 1; ++other)
      EXPECT_THAT(error.what(), Not(HasSubstr(fmt::format("rank {} has", other))));
  }
}

// Without MPI_ERRORS_RETURN on this very communicator the process would die here.
TEST_P(Mpi, ErrorsOfMpiNameExpressionRankAndPlace) {
  const auto part = world->split(0, rank);
  for (const Communicator* each :
       {static_cast<const Communicator*>(world.get()), static_cast<const Communicator*>(part.get())}) {
    const auto* communicator = dynamic_cast<const MpiCommunicator*>(each);
    ASSERT_NE(communicator, nullptr);
    int value = 0;
    try {
      SPANKEY_MPI(rank, MPI_Bcast(&value, 1, MPI_INT, /*root=*/99, communicator->handle()));
      ADD_FAILURE() << "an impossible root passed";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::run_failed);
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr("MPI_Bcast(&value"), HasSubstr(fmt::format("rank {}", rank)),
                        HasSubstr("mpi_communicator_test.cpp"),
                        AnyOf(HasSubstr("MPI_ERR_ROOT"), HasSubstr("Invalid root")), testing::Not(HasSubstr("\n"))));
    }
  }
}

TEST_P(Mpi, ChecksItsArguments) {
  auto tensor = at::zeros({2, 3});
  EXPECT_THROW(world->broadcast(tensor, size), Error);
  EXPECT_THROW(world->broadcast(tensor, -1), Error);
  EXPECT_THROW(world->exchange(tensor, tensor, rank), Error);
  auto transposed = tensor.t();
  EXPECT_THROW(world->all_reduce(transposed), Error);
  auto half = tensor.to(at::kHalf);
  EXPECT_THROW(world->all_reduce(half), Error);
}

TEST_P(Mpi, TheRegistryFindsIt) {
  const auto made = make_communicator(Backend::auto_, 60);
  EXPECT_EQ(made->size(), size);
  auto sum = at::ones({1});
  made->all_reduce(sum);
  EXPECT_EQ(sum.item<float>(), static_cast<float>(size));
}

}  // namespace
}  // namespace spankey::mpi_communicator_test
