// What is a pure function in src/dist: buckets, the tree, the choice of the back end.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <numeric>

#include "base/error.h"
#include "dist/backend.h"
#include "dist/bucket_plan.h"
#include "dist/communicator.h"
#include "dist/mpi_session.h"
#include "dist/tree_sum.h"

namespace spankey::planning_test {
namespace {

using Sizes = std::vector<std::int64_t>;
constexpr std::int64_t mib = std::int64_t{1} << 20;

TEST(BucketPlan, ClosesABucketWhenItHasReachedItsSize) {
  // The tail takes 40 + 20 + 30; 50 + 60 reach 100; 70 is left between.
  EXPECT_EQ(plan_buckets(Sizes{50, 60, 70, 40, 20, 30}, 100), (std::vector<Bucket>{{0, 2}, {2, 3}, {3, 6}}));
}

TEST(BucketPlan, LastBucketIsSmallAndFirstIsLarge) {
  const Sizes sizes(40, mib / 2);  // 20 MiB
  const auto buckets = plan_buckets(sizes, 4 * mib);
  ASSERT_EQ(buckets.size(), 6U);
  EXPECT_EQ(buckets.front(), (Bucket{0, 8}));
  EXPECT_EQ(buckets.back(), (Bucket{38, 40}));
}

TEST(BucketPlan, AParameterLargerThanABucketIsNotCut) {
  EXPECT_EQ(plan_buckets(Sizes{10, 5000, 10}, 100), (std::vector<Bucket>{{0, 2}, {2, 3}}));
  EXPECT_EQ(plan_buckets(Sizes{10, 9 * mib}, 100), (std::vector<Bucket>{{0, 1}, {1, 2}}));
}

TEST(BucketPlan, SmallModelsAreOneBucket) {
  EXPECT_EQ(plan_buckets(Sizes{1, 2, 3}, mib), (std::vector<Bucket>{{0, 3}}));
  EXPECT_TRUE(plan_buckets(Sizes{}, mib).empty());
  EXPECT_THROW(plan_buckets(Sizes{1}, 0), Error);
}

TEST(BucketPlan, EveryParameterIsInExactlyOneBucket) {
  for (std::int64_t bucket_bytes : {1, 7, 64, 1000}) {
    Sizes sizes;
    for (std::int64_t i = 0; i < 57; ++i) sizes.push_back((i * 37) % 101);
    std::int64_t next = 0;
    for (const auto& bucket : plan_buckets(sizes, bucket_bytes)) {
      EXPECT_EQ(bucket.first, next);
      EXPECT_LT(bucket.first, bucket.last);
      next = bucket.last;
    }
    EXPECT_EQ(next, 57);
  }
}

TEST(Elastic, AcceptsPowersOfTwoThatDivide) {
  EXPECT_NO_THROW(check_elastic(8, 1));
  EXPECT_NO_THROW(check_elastic(8, 8));
  for (const auto& [shards, ranks] : std::vector<std::pair<int, int>>{{6, 2}, {8, 3}, {4, 8}, {0, 1}, {-4, 2}}) {
    try {
      check_elastic(shards, ranks);
      ADD_FAILURE() << shards << " shards on " << ranks << " ranks were accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::run_failed);
      EXPECT_NE(std::string(error.what()).find("tree_sum.cpp"), std::string::npos);
    }
  }
}

// The same tree, written as the recursion it is.
float recursive_sum(const std::vector<float>& terms, std::size_t begin, std::size_t end) {
  if (end - begin == 1) return terms[begin];
  const auto middle = begin + (end - begin) / 2;
  return recursive_sum(terms, begin, middle) + recursive_sum(terms, middle, end);
}

float streamed_sum(const std::vector<float>& terms) {
  TreeSum tree(static_cast<std::int64_t>(terms.size()));
  at::Tensor current = at::empty({1});
  for (std::size_t i = 0; i + 1 < terms.size(); ++i) tree.add(current.fill_(terms[i]));
  current.fill_(terms.back());
  tree.complete(current, 0);
  return current.item<float>();
}

TEST(TreeSum, AddsInTheOrderOfTheBalancedTree) {
  int differs_from_sequential = 0;
  for (std::size_t size : {1, 2, 4, 8, 16, 32}) {
    std::vector<float> terms;
    for (std::size_t i = 0; i < size; ++i)
      terms.push_back(std::sin(static_cast<float>(i)) * std::pow(10.0F, static_cast<float>(i % 5)));
    EXPECT_EQ(streamed_sum(terms), recursive_sum(terms, 0, size)) << size << " terms";
    differs_from_sequential += streamed_sum(terms) != std::accumulate(terms.begin(), terms.end(), 0.0F);
  }
  EXPECT_GT(differs_from_sequential, 0);
}

TEST(TreeSum, RefusesTermsBeyondThePlan) {
  TreeSum tree(2);
  at::Tensor term = at::ones({1});
  EXPECT_THROW(tree.complete(term, 0), Error);
  tree.add(term);
  EXPECT_THROW(tree.add(term), Error);
}

Backend resolved(const std::map<std::string, std::string>& environment, Backend asked = Backend::auto_) {
  return resolve_backend(asked, [&](const char* name) -> const char* {
    const auto it = environment.find(name);
    return it == environment.end() ? nullptr : it->second.c_str();
  });
}

TEST(Backend, AutomaticFollowsTheLauncher) {
  EXPECT_EQ(resolved({}), Backend::self);
  EXPECT_EQ(resolved({{"OMPI_COMM_WORLD_SIZE", "1"}}), Backend::mpi);
  EXPECT_EQ(resolved({{"PMIX_RANK", "0"}}), Backend::mpi);
  EXPECT_EQ(resolved({{"PMI_RANK", "3"}}), Backend::mpi);
  const std::map<std::string, std::string> step{
      {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}};
  EXPECT_EQ(resolved(step), Backend::mpi);
  // A batch script, and the shell of salloc, are one process whatever the job asks for.
  EXPECT_EQ(resolved({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}), Backend::self);
  EXPECT_EQ(resolved({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}}), Backend::self);
  EXPECT_EQ(resolved({{"SLURM_NTASKS", "4"}}), Backend::self);
  EXPECT_EQ(resolved({{"OMPI_COMM_WORLD_SIZE", "2"}}, Backend::self), Backend::self);
  EXPECT_EQ(resolved({}, Backend::mpi), Backend::mpi);
}

TEST(Backend, WaitingYieldsUnlessTheUserSaysOtherwise) {
  constexpr const char* variable = "OMPI_MCA_mpi_yield_when_idle";
  unsetenv(variable);
  yield_when_idle();
  EXPECT_STREQ(std::getenv(variable), "1");
  setenv(variable, "0", 1);
  yield_when_idle();
  EXPECT_STREQ(std::getenv(variable), "0");
}

TEST(Backend, SelfStartsNoMpi) {
  auto self = make_communicator(Backend::self, 1);
  EXPECT_EQ(self->rank(), 0);
  EXPECT_EQ(self->size(), 1);
  EXPECT_EQ(self->local_size(), 1);
  auto values = at::arange(3, at::kFloat);
  self->all_reduce(values);
  self->broadcast(values, 0);
  EXPECT_TRUE(at::equal(values, at::arange(3, at::kFloat)));
  EXPECT_TRUE(at::equal(self->all_gather(values), values.unsqueeze(0)));
  EXPECT_NO_THROW(self->agree(sha256("x"), "x"));
  EXPECT_EQ(self->broadcast_string("text", 0), "text");
  EXPECT_EQ(self->split(0, 0)->size(), 1);
  EXPECT_THROW(self->broadcast(values, 1), Error);
  int started = 1;
  MPI_Initialized(&started);
  EXPECT_EQ(started, 0);
}

// Its host tensors travel over what the launcher offers; NCCL itself comes once a GPU has been chosen.
TEST(Backend, NcclStartsWithAHostCommunicator) {
  EXPECT_EQ(make_communicator(Backend::nccl, 1)->size(), 1);
}

}  // namespace
}  // namespace spankey::planning_test
