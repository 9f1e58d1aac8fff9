#include "train/resources.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "support/expect_error.h"

namespace spankey::resources_test {
namespace {

Config config(const std::vector<std::string>& overrides) {
  return parse_config("", "test", overrides);
}

TEST(Resources, ShardsAreThoseOfTheRanksOrAPowerOfTwoThatTheyDivide) {
  EXPECT_EQ(resolve_shards(config({}), 3), 3);
  EXPECT_ERROR(resolve_shards(config({"dist.shards=2"}), 3), ExitCode::bad_input,
               testing::HasSubstr("accepted: 0 or 3"));
  const auto elastic = [](const std::string& shards, int ranks, const std::string& batch = "128") {
    return resolve_shards(config({"dist.reduction=elastic", "dist.shards=" + shards, "train.global_batch=" + batch}),
                          ranks);
  };
  EXPECT_EQ(elastic("0", 1), 8);
  EXPECT_EQ(elastic("0", 2, "12"), 4);
  EXPECT_EQ(elastic("0", 1, "15"), 1);
  EXPECT_EQ(elastic("32", 4), 32);
  EXPECT_ERROR(elastic("4", 3), ExitCode::bad_input, testing::HasSubstr("that the number of ranks (3) divides"));
  EXPECT_ERROR(elastic("0", 8, "12"), ExitCode::bad_input, testing::HasSubstr("automatic gave 4"));
}

// What docs/decisions/own-reducer.md measured, by the place of the ranks.
TEST(Resources, GradientsLeaveDuringBackwardWhereThatTakesNoCoreFromIt) {
  const Communicator::Topology one_node{.rank = 0, .size = 2, .local_rank = 0, .local_size = 2};
  const Communicator::Topology two_nodes{.rank = 0, .size = 2, .local_rank = 0, .local_size = 1};
  const auto automatic = [](const Communicator::Topology& topology, bool stream_ordered, int cores, int threads) {
    return resolve_overlap(Overlap::auto_, topology, stream_ordered, cores, threads);
  };
  EXPECT_FALSE(automatic(one_node, false, /*cores=*/1, /*threads=*/1));
  EXPECT_FALSE(automatic(one_node, false, 4, 4));
  EXPECT_TRUE(automatic(one_node, false, 2, 1));
  EXPECT_TRUE(automatic(two_nodes, false, 1, 1));
  EXPECT_TRUE(automatic(one_node, true, 1, 1));
  EXPECT_TRUE(resolve_overlap(Overlap::on, one_node, false, 1, 1));
  EXPECT_FALSE(resolve_overlap(Overlap::off, two_nodes, true, 2, 1));
}

TEST(Resources, TheCoresOfANodeAreSharedByItsRanks) {
  const auto all = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  EXPECT_EQ(cores_of_rank(all), 1);
  EXPECT_EQ(cores_of_rank(2 * all), 1);
  cpu_set_t before, first;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  EXPECT_EQ(cores_of_rank(1), std::min(CPU_COUNT(&before), all));
  int core = 0;
  while (!CPU_ISSET(core, &before)) ++core;
  CPU_ZERO(&first);
  CPU_SET(core, &first);
  ASSERT_EQ(sched_setaffinity(0, sizeof first, &first), 0);
  EXPECT_EQ(cores_of_rank(1), 1);  // as mpirun --bind-to core leaves it
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

// A Slurm job of four ranks on four of 64 cores: none of the ranks is bound, and four threads each would be too many.
// The same for the ranks of one of several trials that a sweep runs at a time.
TEST(Resources, AJobOrATrialOnAPartOfAMachineSharesThatPart) {
  const auto whole = cores_of_rank(1);
  for (const char* variable : {"SLURM_CPUS_ON_NODE", "SPANKEY_CORES"}) {
    for (const auto& [allotted, cores] : {std::pair{"1", 1}, {"100000", whole}, {"many", whole}, {"-3", whole}}) {
      setenv(variable, allotted, 1);
      EXPECT_EQ(cores_of_rank(1), cores) << variable << "=" << allotted;
    }
    unsetenv(variable);
  }
}

TEST(Resources, ThreadsAreThoseAskedForOrTheCoresOfTheRank) {
  const auto all = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t mine;
  ASSERT_EQ(sched_getaffinity(0, sizeof mine, &mine), 0);
  const auto threads = [](const std::vector<std::string>& overrides, int ranks_of_node) {
    return resolve_threads(config(overrides), ranks_of_node);
  };
  EXPECT_EQ(threads({"dist.reduction=fast"}, 1), std::min(CPU_COUNT(&mine), all));
  EXPECT_EQ(threads({"dist.reduction=fast"}, all), 1);
  const int more = all + 3;  // what no rule would give
  for (const int ranks_of_node : {1, all}) {
    EXPECT_EQ(threads({"dist.reduction=elastic"}, ranks_of_node), 1);
    for (const char* reduction : {"fast", "elastic"})
      EXPECT_EQ(
          threads({fmt::format("dist.reduction={}", reduction), fmt::format("dist.threads={}", more)}, ranks_of_node),
          more)
          << reduction;
  }
}

}  // namespace
}  // namespace spankey::resources_test
