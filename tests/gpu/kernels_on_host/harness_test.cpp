// The GPU that the host stands for refuses what a real one would refuse, hang at or leave undefined.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <stdexcept>
#include <string>

#include "cuda_on_host.h"
#include "mutants.h"

namespace spankey::harness_test {
namespace {

using mutants::Fault;

constexpr int blocks = 3;

std::vector<float> values() {
  std::vector<float> result(blocks * mutants::threads);
  std::iota(result.begin(), result.end(), 1.0F);
  return result;
}

// By the formula of Gauss.
std::vector<float> expected() {
  std::vector<float> result;
  for (int block = 0; block < blocks; ++block) {
    const int first = block * mutants::threads + 1, last = first + mutants::threads - 1;
    result.push_back(static_cast<float>((first + last) * mutants::threads / 2));
  }
  return result;
}

std::string complaint(Fault fault) {
  try {
    mutants::sums_of_blocks(values(), fault);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

TEST(CudaOnHost, RunsAKernelWithBarriersAndShuffles) {
  EXPECT_EQ(mutants::sums_of_blocks(values(), Fault::none), expected());
}

TEST(CudaOnHost, AMissingBarrierChangesTheResult) {
  EXPECT_NE(mutants::sums_of_blocks(values(), Fault::no_barrier), expected());
}

TEST(CudaOnHost, ABarrierThatNotAllThreadsReachIsRefused) {
  const auto parts = testing::HasSubstr("sums_of, block (0, 0, 0): threads part at a barrier");
  for (const Fault fault :
       {Fault::barrier_in_a_branch, Fault::barrier_elsewhere, Fault::early_end, Fault::lane_missing})
    EXPECT_THAT(complaint(fault), parts) << static_cast<int>(fault);
  EXPECT_THAT(complaint(Fault::unnamed_lane), testing::HasSubstr("which is not named"));
}

TEST(CudaOnHost, SharedMemoryHasItsEnds) {
  EXPECT_THAT(complaint(Fault::write_behind), testing::HasSubstr("a write behind the shared array"));
  EXPECT_THAT(complaint(Fault::too_much_shared), testing::HasSubstr("49160 bytes of shared memory, 49152 at most"));
}

TEST(CudaOnHost, LaunchesBeyondTheLimitsAreRefused) {
  for (const Fault fault : {Fault::grid_too_high, Fault::no_block, Fault::block_too_large, Fault::block_too_deep})
    EXPECT_THAT(complaint(fault), testing::HasSubstr("do_nothing: a launch beyond the limits"))
        << static_cast<int>(fault);
}

TEST(CudaOnHost, GoesOnAfterARefusal) {
  EXPECT_NE(complaint(Fault::barrier_in_a_branch), "");
  EXPECT_EQ(mutants::sums_of_blocks(values(), Fault::none), expected());
}

// A new source needs a test here, and its name in this list.
TEST(CudaOnHost, HasATestForEverySourceOfTheProject) {
  EXPECT_THAT(cuda_on_host::known_files(), testing::ElementsAre("assemble_cuda.cu", "batch_norm_cuda.cu",
                                                                "draw_cuda.cu", "inject_cuda.cu", "mutants.cu"));
}

}  // namespace
}  // namespace spankey::harness_test
