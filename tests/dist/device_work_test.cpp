// The host's part in work of a GPU: deadlines, identifiers, choice of the device, a reducer without a thread.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "dist/cuda_module.h"
#include "dist/pending_operations.h"
#include "dist/rank_threads.h"
#include "dist/shared_id.h"
#include "dist/toy_step.h"
#include "dist/watchdog.h"
#include "support/expect_error.h"

namespace spankey::device_work_test {
namespace {

using std::chrono::seconds;
using test::expect_close;
using test::run_ranks;
using test::toy_reference;
using test::toy_step;
using test::ToyResult;
using testing::HasSubstr;

const PendingOperations::Clock::time_point start{};

TEST(PendingOperations, OnlyTheOldestCanBeLate) {
  PendingOperations pending(/*timeout_seconds=*/1);
  bool first_done = false;
  pending.add({"all_reduce", 64, [&] { return first_done; }}, start);
  pending.add({"exchange", 8, [] { return false; }}, start + seconds(1));
  EXPECT_FALSE(pending.overdue(start + seconds(60)));
  const auto late = pending.overdue(start + seconds(61));
  ASSERT_TRUE(late);
  EXPECT_STREQ(late->name, "all_reduce");
  EXPECT_EQ(late->bytes, 64);

  // The stream has got on: the next one has the whole deadline for itself.
  first_done = true;
  EXPECT_FALSE(pending.overdue(start + seconds(62)));
  EXPECT_EQ(pending.size(), 1U);
  EXPECT_FALSE(pending.overdue(start + seconds(122)));
  EXPECT_STREQ(pending.overdue(start + seconds(123)).value().name, "exchange");
}

TEST(PendingOperations, WaitingForWorkIsNotBeingLate) {
  PendingOperations pending(/*timeout_seconds=*/1);
  pending.add({"all_reduce", 1, [] { return true; }}, start);
  EXPECT_FALSE(pending.overdue(start + seconds(100)));
  EXPECT_EQ(pending.size(), 0U);
  pending.add({"all_reduce", 1, [] { return false; }}, start + seconds(500));
  EXPECT_FALSE(pending.overdue(start + seconds(559)));
  EXPECT_TRUE(pending.overdue(start + seconds(561)));
}

// docs/clusters.md: no deadline during evaluations and saves. Rank 0 saves for some minutes; the others already wait
// for it in the first all_reduce of the next step, longer than any step may take (10 timeouts) as the watchdog grants
// it.
TEST(PendingOperations, ALateStepIsLeftToTheWatchdog) {
  constexpr double timeout_seconds = 30;
  PendingOperations pending(timeout_seconds);
  pending.add({"all_reduce", 1, [] { return false; }}, start);
  EXPECT_FALSE(pending.overdue(start + seconds(31)));
  EXPECT_FALSE(pending.overdue(start + std::chrono::minutes(29)));
  EXPECT_TRUE(pending.overdue(start + std::chrono::minutes(31)));
  EXPECT_GE(pending.deadline_seconds(), timeout_seconds * Waiting{.operation = "all_reduce"}.patience);
}

TEST(SharedId, AllRanksHaveTheOneOfRank0) {
  std::atomic<int> made = 0;
  run_ranks(3, [&](Communicator& world) {
    const auto id = share_id(world, [&] {
      ++made;
      return std::vector{std::byte{7}, std::byte{0}, std::byte{9}};
    });
    EXPECT_EQ(id, (std::vector{std::byte{7}, std::byte{0}, std::byte{9}}));
  });
  EXPECT_EQ(made, 1);
}

TEST(SharedId, AFailureOfRank0IsEverybodys) {
  run_ranks(3, [&](Communicator& world) {
    const auto fail = []() -> std::vector<std::byte> { fail_run("no interface"); };
    EXPECT_ERROR(share_id(world, fail), ExitCode::run_failed,
                 HasSubstr(world.rank() == 0 ? "no interface" : "rank 0 could not make"));
  });
}

TEST(ChooseDevice, OneForEachLocalRank) {
  EXPECT_EQ(choose_device(0, 4), 0);
  EXPECT_EQ(choose_device(3, 8), 3);
  EXPECT_EQ(choose_device(1, 1), 0);
  EXPECT_EQ(choose_device(5, 4), 1);
}

TEST(EagerGraph, RepeatsWhatItWasGivenLast) {
  const auto graph = make_eager_graph();
  int first = 0, second = 0;
  EXPECT_ERROR(graph->replay(), ExitCode::run_failed, HasSubstr("nothing is recorded"));
  graph->use([&] { ++first; });
  EXPECT_EQ(first, 1);
  graph->capture([&] { ++first; });
  EXPECT_EQ(first, 1) << "recording executes nothing";
  graph->replay();
  graph->replay();
  EXPECT_EQ(first, 3);
  graph->capture([&] { ++second; });
  graph->replay();
  EXPECT_EQ(first, 3);
  EXPECT_EQ(second, 1);
}

// In-process ranks whose all_reduce comes true in join() and not before, as the contract of stream order allows.
class LateCommunicator final : public Communicator {
 public:
  LateCommunicator(std::unique_ptr<Communicator> inner, bool forgetful)
      : Communicator(inner->topology()), inner_(std::move(inner)), forgetful_(forgetful) {}

  bool stream_ordered() const override { return true; }
  void join() override {
    if (forgetful_) return;
    for (auto& [tensor, op] : waiting_) inner_->all_reduce(tensor, op);
    waiting_.clear();
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<LateCommunicator>(inner_->split(color, key), forgetful_);
  }
  void abort(int exit_code) override { inner_->abort(exit_code); }
  void set_place(const std::string& place) override { inner_->set_place(place); }
  void begin_step(const std::string& place) override { inner_->begin_step(place); }

 private:
  void do_broadcast(at::Tensor& tensor, int root) override { inner_->broadcast(tensor, root); }
  void do_all_reduce(at::Tensor& tensor, ReduceOp op) override { waiting_.emplace_back(tensor, op); }
  void do_all_gather(const at::Tensor& tensor, at::Tensor& gathered) override {
    gathered.copy_(inner_->all_gather(tensor));
  }
  void do_exchange(const at::Tensor& send, at::Tensor& receive, int peer) override {
    inner_->exchange(send, receive, peer);
  }
  void do_barrier() override { inner_->barrier(); }

  std::unique_ptr<Communicator> inner_;
  bool forgetful_;
  std::vector<std::pair<at::Tensor, ReduceOp>> waiting_;
};

ToyResult step_on(int ranks, Reduction reduction, bool late, bool forgetful = false) {
  const ReducerOptions options{.reduction = reduction, .shards = 4, .bucket_bytes = 1024};
  ToyResult result;
  run_ranks(ranks, [&](Communicator& world) {
    LateCommunicator wrapped(world.split(0, world.rank()), forgetful);
    const auto mine = toy_step(late ? wrapped : world, options, /*samples=*/32, /*steps=*/2);
    if (world.rank() == 0) result = mine;
  });
  return result;
}

TEST(StreamOrderedReducer, HasTheBitsOfTheThread) {
  at::set_num_threads(1);
  for (const auto reduction : {Reduction::fast, Reduction::elastic})
    for (const int ranks : {1, 2, 4})
      EXPECT_EQ(step_on(ranks, reduction, true).sha256, step_on(ranks, reduction, false).sha256)
          << ranks << " ranks, " << to_string(reduction);
  expect_close(step_on(2, Reduction::elastic, true), toy_reference(32));
}

// Every way over the back end, where a tensor on a GPU would be copied to the host, is an error.
class SilentCommunicator final : public Communicator {
 public:
  SilentCommunicator() : Communicator({0, 1, 0, 1}) {}
  std::unique_ptr<Communicator> split(int, int) override { return std::make_unique<SilentCommunicator>(); }
  void abort(int) override { std::abort(); }
  void set_place(const std::string&) override {}
  void begin_step(const std::string&) override {}

 private:
  void do_broadcast(at::Tensor&, int) override { fail_run("broadcast"); }
  void do_all_reduce(at::Tensor&, ReduceOp) override { fail_run("all_reduce"); }
  void do_all_gather(const at::Tensor&, at::Tensor&) override { fail_run("all_gather"); }
  void do_exchange(const at::Tensor&, at::Tensor&, int) override { fail_run("exchange"); }
  void do_barrier() override { fail_run("barrier"); }
};

TEST(OneRank, TakesAStepWithoutCommunicating) {
  at::set_num_threads(1);
  SilentCommunicator alone;
  for (const auto reduction : {Reduction::fast, Reduction::elastic}) {
    const ReducerOptions options{.reduction = reduction, .shards = 4, .bucket_bytes = 1024};
    expect_close(toy_step(alone, options, /*samples=*/32, /*steps=*/2), toy_reference(32));
  }
}

// Negative control: without its join the sums are those of one rank.
TEST(StreamOrderedReducer, IsWrongWithoutJoin) {
  at::set_num_threads(1);
  EXPECT_NE(step_on(2, Reduction::fast, true, /*forgetful=*/true).sha256, step_on(2, Reduction::fast, false).sha256);
}

}  // namespace
}  // namespace spankey::device_work_test
