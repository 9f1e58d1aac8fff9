// The reducer with ranks as threads.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/error.h"
#include "dist/rank_threads.h"
#include "dist/toy_step.h"

namespace spankey::reducer_test {
namespace {

using std::chrono::milliseconds;
using test::expect_close;
using test::message_of;
using test::run_ranks;
using test::run_ranks_catching;
using test::toy_reference;
using test::toy_step;
using test::ToyResult;
using testing::AllOf;
using testing::HasSubstr;

struct OneComputeThread : testing::Environment {
  void SetUp() override { at::set_num_threads(1); }
};
const auto* const one_compute_thread = testing::AddGlobalTestEnvironment(new OneComputeThread);

ToyResult step_on(int ranks, const ReducerOptions& options, std::int64_t samples, int steps = 1) {
  ToyResult of_rank_0;
  std::set<std::string> hashes;
  std::mutex mutex;
  run_ranks(ranks, [&](Communicator& world) {
    const auto result = toy_step(world, options, samples, steps);
    const std::lock_guard lock(mutex);
    hashes.insert(result.sha256);
    if (world.rank() == 0) of_rank_0 = result;
  });
  EXPECT_EQ(hashes.size(), 1U) << "the ranks hold different sums";
  return of_rank_0;
}

ReducerOptions fast(std::int64_t shards) {
  return {.reduction = Reduction::fast, .shards = shards, .bucket_bytes = 1024};
}
ReducerOptions elastic(std::int64_t shards) {
  return {.reduction = Reduction::elastic, .shards = shards, .bucket_bytes = 1024};
}

TEST(Reducer, FastSumsEqualTheFloat64Reference) {
  const auto reference = toy_reference(30);
  for (int ranks : {1, 2, 3, 4}) expect_close(step_on(ranks, fast(ranks), 30), reference);
}

TEST(Reducer, FastTakesUnevenNumbersOfShards) {
  const auto reference = toy_reference(30);
  expect_close(step_on(1, fast(5), 30), reference);
  expect_close(step_on(3, fast(7), 30), reference);
}

TEST(Reducer, ElasticSumsEqualTheFloat64Reference) {
  const auto reference = toy_reference(30);
  for (int ranks : {1, 2, 4}) expect_close(step_on(ranks, elastic(8), 30), reference);
}

TEST(Reducer, ElasticSumsAreBitIdenticalForEveryNumberOfRanks) {
  for (std::int64_t shards : {4, 8}) {
    const auto expected = step_on(1, elastic(shards), 32).sha256;
    EXPECT_EQ(step_on(2, elastic(shards), 32).sha256, expected);
    EXPECT_EQ(step_on(4, elastic(shards), 32).sha256, expected);
    // Neither the cut into buckets nor the moment they leave shows.
    auto other = elastic(shards);
    other.bucket_bytes = 1 << 20;
    EXPECT_EQ(step_on(2, other, 32).sha256, expected);
    other = elastic(shards);
    other.overlap = false;
    EXPECT_EQ(step_on(4, other, 32).sha256, expected);
  }
}

// Negative control: were the data harmless, sums in another order would have the same bits as well.
TEST(Reducer, FastSumsAreNotBitIdentical) {
  const auto tree = step_on(1, elastic(8), 32).sha256;
  const auto one = step_on(1, fast(8), 32).sha256;
  const auto two = step_on(2, fast(8), 32).sha256;
  EXPECT_NE(one, tree);
  EXPECT_NE(one, two);
  EXPECT_NE(step_on(1, elastic(4), 32).sha256, tree);
}

TEST(Reducer, EmptyShardsCountAsZero) {
  const auto reference = toy_reference(6);
  const auto one = step_on(1, elastic(8), 6);
  expect_close(one, reference);
  EXPECT_EQ(step_on(4, elastic(8), 6).sha256, one.sha256);  // rank 3 has no sample at all
  expect_close(step_on(4, fast(4), 3), toy_reference(3));
}

// Where only the extras are asked for, gradients stay what this rank has, and a step with them is like any other later.
TEST(Reducer, GradientsTravelOnlyWhereTheyAreAskedFor) {
  for (const auto reduction : {Reduction::fast, Reduction::elastic})
    run_ranks(2, [&](Communicator& world) {
      auto weight = at::ones({600}).requires_grad_(true);
      auto other = at::ones({600}).requires_grad_(true);
      FlatParameters flat({{"weight", weight}, {"other", other}});
      Reducer reducer(flat, world, {.reduction = reduction, .shards = 4, .bucket_bytes = 1024, .extra = 1});
      const auto step = [&] {
        for (int shard = 0; shard < 2; ++shard) {
          reducer.begin_shard(shard == 1);
          if (shard == 1) ((weight.sum() + other.sum()) * (world.rank() + 1)).backward();
          reducer.extras()[0] = 10 * world.rank() + 1;
          reducer.end_shard();
        }
        reducer.finish();
        return std::pair{weight.grad()[0].item<float>(), reducer.extras()[0].item<double>()};
      };
      reducer.sum_gradients(false);
      EXPECT_EQ(step(), std::pair(static_cast<float>(world.rank() + 1), 24.0));
      EXPECT_EQ(step(), std::pair(static_cast<float>(world.rank() + 1), 24.0));
      reducer.sum_gradients(true);
      EXPECT_EQ(step(), std::pair(3.0F, 24.0));
    });
}

TEST(Reducer, StepsDoNotLeakIntoOneAnother) {
  EXPECT_EQ(step_on(2, elastic(4), 32, 3).sha256, step_on(2, elastic(4), 32).sha256);
  EXPECT_EQ(step_on(2, fast(2), 32, 3).sha256, step_on(2, fast(2), 32).sha256);
  EXPECT_EQ(step_on(1, fast(4), 32, 3).sha256, step_on(1, fast(4), 32).sha256);
}

// ---------------------------------------------------------------------------------------------------------------------
// Gradients by closed form: d loss / d p_k = factor_k, integers that float32 adds exactly.

struct Leaves {
  std::vector<std::pair<std::string, at::Tensor>> named;
  explicit Leaves(std::int64_t count, std::int64_t size = 300) {
    for (std::int64_t k = 0; k < count; ++k)
      named.emplace_back(fmt::format("p{}", k), at::zeros({size}).requires_grad_(true));
  }
};

// A graph whose nodes run in the given order: each leaf hangs at one level of a chain.
at::Tensor chained_loss(const Leaves& leaves, const std::vector<std::size_t>& order, double factor) {
  auto loss = at::zeros({}, at::kFloat).requires_grad_(true) * 1;
  for (const auto k : order) loss = loss + leaves.named[k].second.sum() * (factor * static_cast<double>(k + 1));
  return loss;
}

TEST(Reducer, RanksMayFireTheirHooksInAnyOrder) {
  for (const auto reduction : {Reduction::fast, Reduction::elastic})
    run_ranks(2, [&](Communicator& world) {
      Leaves leaves(6);
      FlatParameters flat(leaves.named);
      Reducer reducer(flat, world, {.reduction = reduction, .shards = 2, .bucket_bytes = 1});
      ASSERT_EQ(reducer.buckets().size(), 6U);
      for (int step = 0; step < 20; ++step) {
        reducer.begin_shard(true);
        const bool forwards = world.rank() == 0;
        chained_loss(leaves,
                     forwards ? std::vector<std::size_t>{0, 1, 2, 3, 4, 5} : std::vector<std::size_t>{5, 3, 4, 0, 2, 1},
                     world.rank() + 1)
            .backward();
        reducer.end_shard();
        reducer.finish();
        for (std::size_t k = 0; k < 6; ++k)
          EXPECT_TRUE(at::equal(leaves.named[k].second.grad(), at::full({300}, 3.0 * static_cast<double>(k + 1))));
      }
    });
}

// Counts what has come back of the collectives in which buckets travel: all_reduce under fast, exchange under elastic.
class CountingCommunicator final : public Communicator {
 public:
  CountingCommunicator(std::unique_ptr<Communicator> inner, std::atomic<int>& finished, bool ordered)
      : Communicator(inner->topology()), inner_(std::move(inner)), finished_(finished), ordered_(ordered) {}

  bool stream_ordered() const override { return ordered_; }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<CountingCommunicator>(inner_->split(color, key), finished_, ordered_);
  }
  void abort(int exit_code) override { inner_->abort(exit_code); }
  void set_place(const std::string& place) override { inner_->set_place(place); }
  void begin_step(const std::string& place) override { inner_->begin_step(place); }

 private:
  void do_broadcast(at::Tensor& tensor, int root) override { inner_->broadcast(tensor, root); }
  void do_all_reduce(at::Tensor& tensor, ReduceOp op) override {
    inner_->all_reduce(tensor, op);
    ++finished_;
  }
  void do_all_gather(const at::Tensor& tensor, at::Tensor& gathered) override {
    gathered.copy_(inner_->all_gather(tensor));
  }
  void do_exchange(const at::Tensor& send, at::Tensor& receive, int peer) override {
    inner_->exchange(send, receive, peer);
    ++finished_;
  }
  void do_barrier() override { inner_->barrier(); }

  std::unique_ptr<Communicator> inner_;
  std::atomic<int>& finished_;
  bool ordered_;
};

bool reached(const std::atomic<int>& count, int wanted, milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (count < wanted && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(milliseconds(1));
  return count >= wanted;
}

// A step of two ranks in three buckets. Backward stops for up to `limit` before the gradient of the last one. Returns
// how many ranks find the sum of both in the first bucket there.
int ranks_with_an_early_sum(const ReducerOptions& options, bool stream_ordered, milliseconds limit) {
  std::atomic<int> found = 0;
  run_ranks(2, [&](Communicator& world) {
    std::atomic<int> finished = 0;
    CountingCommunicator counting(world.split(0, world.rank()), finished, stream_ordered);
    Leaves leaves(3);
    FlatParameters flat(leaves.named);
    Reducer reducer(flat, counting, options);
    ASSERT_EQ(reducer.buckets().size(), 3U);
    leaves.named[0].second.register_hook([&](const at::Tensor&) {
      // With the second bucket back, nobody writes to the first any more: reading it is no race.
      if (reached(finished, 2, limit) && at::equal(leaves.named[2].second.grad(), at::full({300}, 9.0))) ++found;
    });
    reducer.begin_shard(true);
    chained_loss(leaves, {0, 1, 2}, world.rank() + 1).backward();
    reducer.end_shard();
    reducer.finish();
    for (std::size_t k = 0; k < 3; ++k)
      EXPECT_TRUE(at::equal(leaves.named[k].second.grad(), at::full({300}, 3.0 * static_cast<double>(k + 1)))) << k;
  });
  return found;
}

TEST(Reducer, BucketsLeaveDuringBackward) {
  for (const auto reduction : {Reduction::fast, Reduction::elastic})
    for (const bool stream_ordered : {false, true}) {
      const ReducerOptions options{.reduction = reduction, .shards = 2, .bucket_bytes = 1};
      EXPECT_EQ(ranks_with_an_early_sum(options, stream_ordered, milliseconds(10'000)), 2)
          << to_string(reduction) << (stream_ordered ? ", stream-ordered" : "");
    }
}

// Negative control: the sums come in finish() alone, and the hook above sees that.
TEST(Reducer, WithoutOverlapNoBucketLeavesDuringBackward) {
  for (const auto reduction : {Reduction::fast, Reduction::elastic})
    for (const bool stream_ordered : {false, true}) {
      const ReducerOptions options{.reduction = reduction, .shards = 2, .bucket_bytes = 1, .overlap = false};
      EXPECT_EQ(ranks_with_an_early_sum(options, stream_ordered, milliseconds(200)), 0)
          << to_string(reduction) << (stream_ordered ? ", stream-ordered" : "");
    }
}

// Returns how many ranks find the sum of both ranks' extras before backward is over.
int ranks_with_early_extras(Reduction reduction, bool stream_ordered, bool send, milliseconds limit) {
  std::atomic<int> found = 0;
  run_ranks(2, [&](Communicator& world) {
    std::atomic<int> finished = 0;
    CountingCommunicator counting(world.split(0, world.rank()), finished, stream_ordered);
    Leaves leaves(3);
    FlatParameters flat(leaves.named);
    Reducer reducer(flat, counting, {.reduction = reduction, .shards = 2, .bucket_bytes = 1, .extra = 1});
    leaves.named[0].second.register_hook([&](const at::Tensor&) {
      // The extras and two buckets. Where the extras leave at the end, nobody writes to them before.
      if (reached(finished, 3, limit) && reducer.extras()[0].item<double>() == 3.0) ++found;
    });
    reducer.begin_shard(true);
    reducer.extras()[0] = world.rank() + 1;
    if (send) reducer.send_extras();
    chained_loss(leaves, {0, 1, 2}, world.rank() + 1).backward();
    reducer.end_shard();
    reducer.finish();
    EXPECT_EQ(reducer.extras()[0].item<double>(), 3.0);
  });
  return found;
}

TEST(Reducer, ExtrasThatAreFinalLeaveBeforeTheGradients) {
  for (const auto reduction : {Reduction::fast, Reduction::elastic})
    for (const bool stream_ordered : {false, true}) {
      EXPECT_EQ(ranks_with_early_extras(reduction, stream_ordered, true, milliseconds(10'000)), 2);
      EXPECT_EQ(ranks_with_early_extras(reduction, stream_ordered, false, milliseconds(200)), 0);  // the control
    }
}

TEST(Reducer, ExtrasHaveTheSameBitsWheneverTheyLeave) {
  for (const auto reduction : {Reduction::fast, Reduction::elastic})
    run_ranks(2, [&](Communicator& world) {
      const ReducerOptions options{.reduction = reduction, .shards = 4, .bucket_bytes = 1};
      EXPECT_EQ(test::toy_step(world, options, 13, 2, true).sha256,
                test::toy_step(world, options, 13, 2, false).sha256);
    });
}

TEST(Reducer, SettlesParametersWithoutGradient) {
  run_ranks(3, [](Communicator& world) {
    Leaves leaves(4);
    FlatParameters flat(leaves.named);
    Reducer reducer(flat, world, {.bucket_bytes = 1});
    reducer.begin_shard(true);
    // p1 has a gradient on rank 1 only, p2 nowhere.
    auto order = std::vector<std::size_t>{0, 3};
    if (world.rank() == 1) order = {0, 1, 3};
    chained_loss(leaves, order, world.rank() + 1).backward();
    reducer.end_shard();
    reducer.finish();
    const std::vector<double> expected{6, 2 * 2, 0, 6 * 4};
    for (std::size_t k = 0; k < 4; ++k)
      EXPECT_TRUE(at::equal(leaves.named[k].second.grad(), at::full({300}, expected[k]))) << k;
  });
}

TEST(Reducer, ElasticAddsAsTheTree) {
  const std::vector<double> terms{1e8, 1, -1e8, 1};  // tree 0, one after the other 1, exactly 2
  for (int ranks : {1, 2, 4})
    run_ranks(ranks, [&](Communicator& world) {
      Leaves leaves(2);
      FlatParameters flat(leaves.named);
      Reducer reducer(flat, world, {.reduction = Reduction::elastic, .shards = 4, .bucket_bytes = 1, .extra = 1});
      const int local = 4 / world.size();
      for (int shard = 0; shard < local; ++shard) {
        const int place = world.rank() * local + shard;
        const auto term = terms[static_cast<std::size_t>(place)];
        reducer.begin_shard(shard + 1 == local);
        (leaves.named[0].second.sum() * term).backward();
        reducer.extras()[0] = term;
        reducer.end_shard();
      }
      reducer.finish();
      EXPECT_EQ(leaves.named[0].second.grad()[7].item<float>(), 0);
      EXPECT_EQ(reducer.extras()[0].item<double>(), 2);  // float64 holds it
    });
}

TEST(Reducer, FastAddsAsItComes) {
  run_ranks(1, [](Communicator& world) {
    Leaves leaves(1);
    FlatParameters flat(leaves.named);
    Reducer reducer(flat, world, {});
    const std::vector<double> terms{1e8, 1, -1e8, 1};
    for (std::size_t shard = 0; shard < terms.size(); ++shard) {
      reducer.begin_shard(shard == 3);
      (leaves.named[0].second.sum() * terms[shard]).backward();
      reducer.end_shard();
    }
    reducer.finish();
    EXPECT_EQ(leaves.named[0].second.grad()[7].item<float>(), 1);
  });
}

// ---------------------------------------------------------------------------------------------------------------------
// Misuse and failures

TEST(Reducer, NoticesATornOffGradient) {
  run_ranks(1, [](Communicator& world) {
    Leaves leaves(2);
    FlatParameters flat(leaves.named);
    Reducer reducer(flat, world, {});
    reducer.begin_shard(true);
    leaves.named[1].second.mutable_grad().reset();
    try {
      leaves.named[1].second.sum().backward();
      ADD_FAILURE() << "not noticed";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("p1"));
    }
  });
}

TEST(Reducer, NoticesASecondBackward) {
  run_ranks(1, [](Communicator& world) {
    Leaves leaves(1);
    FlatParameters flat(leaves.named);
    Reducer reducer(flat, world, {});
    reducer.begin_shard(true);
    leaves.named[0].second.sum().backward();
    EXPECT_THROW(leaves.named[0].second.sum().backward(), Error);
  });
}

TEST(Reducer, HoldsCallersToTheOrderOfCalls) {
  run_ranks(1, [](Communicator& world) {
    Leaves leaves(1);
    FlatParameters flat(leaves.named);
    Reducer reducer(flat, world, {.reduction = Reduction::elastic, .shards = 2});
    EXPECT_THROW(reducer.finish(), Error);
    EXPECT_THROW(reducer.end_shard(), Error);
    EXPECT_THROW(reducer.begin_shard(true), Error);  // the first of two
    reducer.begin_shard(false);
    EXPECT_THROW(reducer.begin_shard(true), Error);
    reducer.end_shard();
    EXPECT_THROW(reducer.finish(), Error);
    EXPECT_THROW(reducer.begin_shard(false), Error);  // the second of two
    EXPECT_THROW(Reducer(flat, world, {.reduction = Reduction::elastic, .shards = 3}), Error);
  });
}

TEST(Reducer, HooksGoWithTheReducer) {
  run_ranks(1, [](Communicator& world) {
    Leaves leaves(1);
    FlatParameters flat(leaves.named);
    { const Reducer reducer(flat, world, {}); }
    leaves.named[0].second.sum().backward();
    EXPECT_EQ(leaves.named[0].second.grad()[0].item<float>(), 1);
  });
}

TEST(Reducer, ErrorsOfTheCommunicationThreadComeOutOfFinish) {
  const auto failures = run_ranks_catching(2, [](Communicator& world) {
    Leaves leaves(3, world.rank() == 0 ? 300 : 400);
    FlatParameters flat(leaves.named);
    Reducer reducer(flat, world, {.bucket_bytes = 1});
    reducer.begin_shard(true);
    chained_loss(leaves, {0, 1, 2}, 1).backward();
    reducer.end_shard();
    reducer.finish();
  });
  EXPECT_THAT(message_of(failures[0]) + message_of(failures[1]), AllOf(HasSubstr("304"), HasSubstr("400")));
}

TEST(Reducer, ARankThatThrowsDuringItsShardEndsTheOthers) {
  const auto failures = run_ranks_catching(4, [](Communicator& world) {
    Leaves leaves(3);
    FlatParameters flat(leaves.named);
    Reducer reducer(flat, world, {.bucket_bytes = 1});
    reducer.begin_shard(true);
    chained_loss(leaves, {0, 1, 2}, 1).backward();
    if (world.rank() == 2) fail_run("no more data");
    reducer.end_shard();
    reducer.finish();
  });
  EXPECT_THAT(message_of(failures[2]), HasSubstr("no more data"));
  for (std::size_t rank : {0U, 1U, 3U}) EXPECT_THAT(message_of(failures[rank]), HasSubstr("rank 2 aborted"));
}

}  // namespace
}  // namespace spankey::reducer_test
