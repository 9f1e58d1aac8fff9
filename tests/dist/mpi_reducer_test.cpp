// The reducer under mpiexec against float64, and its elastic sums against those of ranks in one process.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "dist/backend.h"
#include "dist/rank_threads.h"
#include "dist/toy_step.h"
#include "dist/tree_sum.h"

namespace spankey::mpi_reducer_test {
namespace {

using test::expect_close;
using test::run_ranks;
using test::toy_reference;
using test::toy_step;

struct MpiReducer : testing::TestWithParam<bool> {
  MpiReducer() { at::set_num_threads(1); }
  ReducerOptions options(Reduction reduction, std::int64_t shards) const {
    return {.reduction = reduction, .shards = shards, .bucket_bytes = 1024, .overlap = GetParam()};
  }
  std::unique_ptr<Communicator> world = make_communicator(Backend::mpi, 60);
};
INSTANTIATE_TEST_SUITE_P(Overlap, MpiReducer, testing::Bool());

TEST_P(MpiReducer, FastSumsEqualOneProcess) {
  const auto result = toy_step(*world, options(Reduction::fast, world->size()), 30);
  expect_close(result, toy_reference(30));
  world->agree(sha256(result.sha256), "the gradients");  // the same bits on all ranks
}

TEST_P(MpiReducer, ElasticSumsHaveTheBitsOfOneProcess) {
  if (!is_power_of_two(world->size())) {
    EXPECT_THROW(toy_step(*world, options(Reduction::elastic, 8), 30), Error);
    return;
  }
  for (std::int64_t shards : {4, 8}) {
    std::string expected, sequential;
    run_ranks(1, [&](Communicator& alone) {
      expected = toy_step(alone, options(Reduction::elastic, shards), 30).sha256;
      sequential = toy_step(alone, options(Reduction::fast, shards), 30).sha256;
    });
    EXPECT_EQ(toy_step(*world, options(Reduction::elastic, shards), 30, /*steps=*/3).sha256, expected);
    EXPECT_NE(expected, sequential);  // the order of the sum does show in these data
  }
}

}  // namespace
}  // namespace spankey::mpi_reducer_test
