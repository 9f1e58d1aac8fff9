#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

#include "base/error.h"
#include "dist/rank_threads.h"

namespace spankey::thread_communicator_test {
namespace {

using test::message_of;
using test::run_ranks;
using test::run_ranks_catching;
using testing::AllOf;
using testing::HasSubstr;

TEST(ThreadCommunicator, CollectivesHaveTheirClosedForms) {
  run_ranks(3, [](Communicator& world) {
    const double mine = world.rank() + 1;
    auto sum = at::full({4}, mine);
    world.all_reduce(sum);
    EXPECT_TRUE(at::equal(sum, at::full({4}, 6.0)));
    auto most = at::full({4}, mine, at::kDouble);
    world.all_reduce(most, ReduceOp::max);
    EXPECT_EQ(most[0].item<double>(), 3);
    auto least = at::full({4}, mine, at::kLong);
    world.all_reduce(least, ReduceOp::min);
    EXPECT_EQ(least[0].item<std::int64_t>(), 1);
    EXPECT_TRUE(at::equal(world.all_gather(at::full({2}, mine)),
                          at::tensor({1., 1., 2., 2., 3., 3.}, at::kFloat).view({3, 2})));
    auto from_two = at::full({1}, mine);
    world.broadcast(from_two, 2);
    EXPECT_EQ(from_two.item<float>(), 3);
  });
}

TEST(ThreadCommunicator, ExchangeIsPairwise) {
  run_ranks(4, [](Communicator& world) {
    auto theirs = at::empty({1});
    for (int distance : {1, 2, 1}) {
      world.exchange(at::full({1}, 10.0 * world.rank() + distance), theirs, world.rank() ^ distance);
      EXPECT_EQ(theirs.item<float>(),
                10.0F * static_cast<float>(world.rank() ^ distance) + static_cast<float>(distance));
    }
    EXPECT_THROW(world.exchange(theirs, theirs, world.rank()), Error);
  });
}

TEST(ThreadCommunicator, SplitOrdersByKey) {
  run_ranks(4, [](Communicator& world) {
    auto part = world.split(world.rank() % 2, -world.rank());
    EXPECT_EQ(part->size(), 2);
    EXPECT_EQ(part->rank(), world.rank() < 2 ? 1 : 0);
    auto sum = at::full({1}, static_cast<double>(world.rank()));
    part->all_reduce(sum);
    EXPECT_EQ(sum.item<float>(), world.rank() % 2 == 0 ? 2 : 4);
    EXPECT_EQ(world.split(world.rank() == 0 ? -1 : 0, 0) == nullptr, world.rank() == 0);
  });
}

TEST(ThreadCommunicator, ADeadlineEndsAVainWait) {
  const auto failures = run_ranks_catching(
      2,
      [](Communicator& world) {
        world.set_place("epoch 1, step 7");
        if (world.rank() == 0) world.barrier();
      },
      0.1);
  EXPECT_THAT(message_of(failures[0]), AllOf(HasSubstr("rank 0"), HasSubstr("barrier"), HasSubstr("epoch 1, step 7")));
}

TEST(ThreadCommunicator, ARankThatThrowsWakesTheOthers) {
  const auto start = std::chrono::steady_clock::now();
  const auto failures = run_ranks_catching(3, [](Communicator& world) {
    if (world.rank() == 1) fail_run("rank 1 has had enough");
    world.barrier();
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_THAT(message_of(failures[0]), HasSubstr("rank 1 aborted"));
  EXPECT_THAT(message_of(failures[1]), HasSubstr("had enough"));
  EXPECT_THAT(message_of(failures[2]), HasSubstr("rank 1 aborted"));
}

TEST(ThreadCommunicator, NoticesDifferentCollectivesAndShapes) {
  auto failures = run_ranks_catching(2, [](Communicator& world) {
    auto tensor = at::zeros({2});
    world.rank() == 0 ? world.all_reduce(tensor) : world.barrier();
  });
  EXPECT_THAT(message_of(failures[0]) + message_of(failures[1]), AllOf(HasSubstr("all_reduce"), HasSubstr("barrier")));
  failures = run_ranks_catching(2, [](Communicator& world) {
    auto tensor = at::zeros({2 + world.rank()});
    world.all_reduce(tensor);
  });
  EXPECT_THAT(message_of(failures[0]) + message_of(failures[1]),
              AllOf(HasSubstr("rank 0 has 2 elements"), HasSubstr("rank 1 has 3 elements")));
}

TEST(ThreadCommunicator, ChecksTensorsWithBothValues) {
  run_ranks(1, [](Communicator& world) {
    try {
      auto transposed = at::zeros({2, 3}).t();
      world.all_reduce(transposed);
      ADD_FAILURE() << "accepted a transposed tensor";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("[1, 3]"), HasSubstr("[2, 1]")));
    }
    try {
      auto ints = at::zeros({2}, at::kInt);
      world.all_reduce(ints);
      ADD_FAILURE() << "accepted int32";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("Int"), HasSubstr("float32")));
    }
  });
}

TEST(ThreadCommunicator, AgreeNamesTheThingAndEveryDifferingRank) {
  const auto failures = run_ranks_catching(4, [](Communicator& world) {
    world.agree(sha256("same"), "the data set");
    const bool differs = world.rank() == 1 || world.rank() == 3;
    world.agree(sha256(differs ? "other" : "same"), "the basis");
  });
  EXPECT_THAT(message_of(failures[0]), AllOf(HasSubstr("the basis"), HasSubstr("rank 1 has"), HasSubstr("rank 3 has"),
                                             testing::Not(HasSubstr("rank 2"))));
  for (std::size_t rank = 1; rank < failures.size(); ++rank)
    EXPECT_EQ(message_of(failures[rank]), "") << "rank 0 speaks for all";
}

TEST(ThreadCommunicator, AgreeNamesAFewRanksAndCountsTheOthers) {
  const auto failures = run_ranks_catching(20, [](Communicator& world) {
    const auto own = sha256(std::to_string(world.rank()));
    world.agree({{"the data set", sha256("same")}, {"the basis", own}, {"the weights", own}});
  });
  EXPECT_THAT(message_of(failures[0]),
              AllOf(HasSubstr("the basis"), testing::Not(HasSubstr("the weights")), HasSubstr("rank 8 has"),
                    testing::Not(HasSubstr("rank 9")), testing::EndsWith(" and so on, 19 of 20 ranks differ")));
  EXPECT_LT(message_of(failures[0]).size(), 400U);
}

TEST(ThreadCommunicator, BroadcastsTexts) {
  run_ranks(3, [](Communicator& world) {
    EXPECT_EQ(world.broadcast_string(world.rank() == 1 ? "from one" : "", 1), "from one");
    EXPECT_EQ(world.broadcast_string(world.rank() == 1 ? "" : "lost", 1), "");
  });
}

}  // namespace
}  // namespace spankey::thread_communicator_test
