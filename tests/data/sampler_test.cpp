#include "data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace spankey::sampler_test {
namespace {

std::vector<std::int64_t> whole_epoch(const Sampler& sampler, std::int64_t epoch) {
  std::vector<std::int64_t> all;
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    const auto batch = sampler.global_batch(epoch, step);
    all.insert(all.end(), batch.begin(), batch.end());
  }
  return all;
}

bool holds_each_once(std::vector<std::int64_t> order, std::int64_t samples) {
  std::sort(order.begin(), order.end());
  if (static_cast<std::int64_t>(order.size()) != samples) return false;
  for (std::int64_t i = 0; i < samples; ++i) {
    if (order[static_cast<std::size_t>(i)] != i) return false;
  }
  return true;
}

TEST(Sampler, EveryEpochTakesEverySampleOnce) {
  const Sampler sampler(103, 10, /*drop_last=*/false, 42);
  EXPECT_EQ(sampler.steps_per_epoch(), 11);
  for (std::int64_t epoch = 0; epoch < 5; ++epoch) EXPECT_TRUE(holds_each_once(whole_epoch(sampler, epoch), 103));
  EXPECT_EQ(sampler.global_batch(0, 10).size(), 3u);
  // Negative control: a sampler that draws with replacement would be seen.
  auto broken = whole_epoch(sampler, 0);
  broken[17] = broken[16];
  EXPECT_FALSE(holds_each_once(broken, 103));
}

TEST(Sampler, DropLastLeavesOutTheTailOfTheSameOrder) {
  const Sampler all(103, 10, false, 42), full(103, 10, true, 42);
  EXPECT_EQ(full.steps_per_epoch(), 10);
  for (std::int64_t step = 0; step < 10; ++step) EXPECT_EQ(full.global_batch(2, step), all.global_batch(2, step));
}

TEST(Sampler, IsAPureFunctionOfSeedEpochAndStep) {
  const Sampler sampler(1000, 50, true, 7), again(1000, 50, true, 7), other(1000, 50, true, 8);
  // Asked for out of order, by an object with another past.
  const auto late = sampler.global_batch(9, 4);
  whole_epoch(again, 3);
  EXPECT_EQ(again.global_batch(9, 4), late);
  EXPECT_EQ(sampler.global_batch(9, 4), late);
  EXPECT_NE(other.global_batch(9, 4), late);
  EXPECT_NE(sampler.global_batch(8, 4), late);
}

TEST(Sampler, BatchSizeOnlyCutsTheOrder) {
  EXPECT_EQ(whole_epoch(Sampler(96, 8, true, 1), 5), whole_epoch(Sampler(96, 32, true, 1), 5));
}

// Data sorted by class, as folders and many archives are: the first samples would be of one class.
TEST(BalancedSubset, TakesTheFirstOfEachClassEvenly) {
  std::vector<std::int64_t> sorted;
  for (std::int64_t c = 0; c < 3; ++c) sorted.insert(sorted.end(), 10, c);
  EXPECT_EQ(balanced_subset(sorted, 3, 6), (std::vector<std::int64_t>{0, 1, 10, 11, 20, 21}));
  // What does not come out even goes to the first classes, and a subset holds the smaller ones.
  EXPECT_EQ(balanced_subset(sorted, 3, 5), (std::vector<std::int64_t>{0, 1, 10, 11, 20}));
  EXPECT_EQ(balanced_subset(sorted, 3, 2), (std::vector<std::int64_t>{0, 10}));
  EXPECT_EQ(balanced_subset(sorted, 3, 30).size(), 30U);
  // Classes that have few, or none, leave their part to the others.
  EXPECT_EQ(balanced_subset(std::vector<std::int64_t>{0, 0, 0, 0, 0, 0, 1, 3, 3, 3}, 4, 7),
            (std::vector<std::int64_t>{0, 1, 2, 6, 7, 8, 9}));
  std::vector<std::int64_t> alternating, first;
  for (std::int64_t i = 0; i < 40; ++i) alternating.push_back(i % 4);
  for (std::int64_t i = 0; i < 13; ++i) first.push_back(i);
  EXPECT_EQ(balanced_subset(alternating, 4, 13), first);
}

TEST(Sampler, TakesChosenSamplesInTheOrderOfAsMany) {
  const std::vector<std::int64_t> chosen = {3, 5, 8, 13, 21, 34, 55};
  const auto taken = whole_epoch(Sampler(chosen, 2, false, 9), 4);
  const auto places = whole_epoch(Sampler(7, 2, false, 9), 4);
  ASSERT_EQ(taken.size(), places.size());
  for (std::size_t i = 0; i < taken.size(); ++i) EXPECT_EQ(taken[i], chosen[static_cast<std::size_t>(places[i])]);
}

// The position of sample 0 over many epochs is uniform over ten bins.
TEST(Sampler, OrdersOfEpochsAreUnrelated) {
  const Sampler sampler(50, 50, true, 3);
  std::vector<double> counts(10);
  constexpr int epochs = 2000;
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    const auto order = sampler.global_batch(epoch, 0);
    ++counts[static_cast<std::size_t>((std::find(order.begin(), order.end(), 0) - order.begin()) / 5)];
  }
  double chi_square = 0;
  for (const double count : counts) chi_square += (count - 200) * (count - 200) / 200;
  EXPECT_LT(chi_square, 27.9);  // .999 quantile, 9 degrees of freedom
  EXPECT_GT(chi_square, 1.15);  // .001 quantile: not suspiciously even either
}

TEST(ShardRange, PartsAreContiguousCompleteAndEven) {
  for (std::int64_t samples = 0; samples <= 40; ++samples) {
    for (std::int64_t shards = 1; shards <= 9; ++shards) {
      std::int64_t next = 0;
      for (std::int64_t shard = 0; shard < shards; ++shard) {
        const Range range = shard_range(samples, shards, shard);
        EXPECT_EQ(range.begin, next);
        EXPECT_EQ(range.end - range.begin, samples / shards + (shard < samples % shards ? 1 : 0));
        next = range.end;
      }
      EXPECT_EQ(next, samples);
    }
  }
}

TEST(ShardRange, KnownUnevenCase) {
  // 10 samples, 4 shards: 3, 3, 2, 2.
  EXPECT_EQ(shard_range(10, 4, 1).begin, 3);
  EXPECT_EQ(shard_range(10, 4, 1).end, 6);
  EXPECT_EQ(shard_range(10, 4, 3).begin, 8);
  // Fewer samples than shards: the last ones are empty.
  EXPECT_EQ(shard_range(2, 4, 3).begin, 2);
  EXPECT_EQ(shard_range(2, 4, 3).end, 2);
}

TEST(BlockRange, IsTheUnionOfItsShards) {
  for (std::int64_t samples : {0, 3, 10, 127, 128}) {
    for (std::int64_t first = 0; first < 8; ++first) {
      for (std::int64_t count = 1; first + count <= 8; ++count) {
        const Range block = block_range(samples, 8, first, count);
        EXPECT_EQ(block.begin, shard_range(samples, 8, first).begin);
        EXPECT_EQ(block.end, shard_range(samples, 8, first + count - 1).end);
      }
    }
  }
}

}  // namespace
}  // namespace spankey::sampler_test
