#include "base/worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <string>
#include <vector>

namespace spankey::worker_test {
namespace {

TEST(Worker, JobsRunInOrderOnAThreadOfTheirOwn) {
  std::vector<int> done;  // not guarded: finish() orders what the jobs have written
  std::thread::id where;
  Worker worker;
  for (int round = 0; round < 3; ++round) {
    done.clear();
    for (int job = 0; job < 100; ++job)
      worker.give([&, job] {
        where = std::this_thread::get_id();
        done.push_back(job);
      });
    worker.finish();
    ASSERT_EQ(done.size(), 100U);
    for (int job = 0; job < 100; ++job) EXPECT_EQ(done[static_cast<std::size_t>(job)], job);
  }
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST(Worker, TheOwnerGoesOnWhileAJobRuns) {
  std::promise<void> allowed;
  bool done = false;
  Worker worker;
  worker.give([&] {
    allowed.get_future().wait();
    done = true;
  });
  allowed.set_value();  // would never be reached if give() waited
  worker.finish();
  EXPECT_TRUE(done);
}

// The jobs behind one that fails may rely on it.
TEST(Worker, AfterAFailureJobsAreDroppedUntilTheOwnerHasAsked) {
  std::promise<void> allowed;
  int done = 0;
  Worker worker;
  worker.give([&] {
    allowed.get_future().wait();
    throw std::runtime_error("the first");
  });
  worker.give([&] { ++done; });
  allowed.set_value();
  try {
    worker.finish();
    FAIL() << "finish() has not thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(error.what(), std::string("the first"));
  }
  EXPECT_EQ(done, 0);
  worker.finish();  // told once
  worker.give([&] { ++done; });
  EXPECT_EQ(worker.settle(), nullptr);
  EXPECT_EQ(done, 1);
  worker.give([] { throw 5; });
  EXPECT_NE(worker.settle(), nullptr);
  EXPECT_EQ(worker.settle(), nullptr);
}

// An owner that leaves gets the job that runs to its end, and no other.
TEST(Worker, LeavingWaitsForTheJobThatRuns) {
  std::promise<void> begun;
  std::atomic<int> done{0};
  {
    Worker worker;
    worker.give([&] {
      begun.set_value();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      ++done;
    });
    worker.give([&] { done += 10; });
    begun.get_future().wait();
  }
  EXPECT_EQ(done, 1);
}

TEST(Worker, WhatAJobHoldsEndsBeforeItCountsAsDone) {
  Worker worker;
  auto held = std::make_shared<int>(1);
  worker.give([held] {});
  worker.finish();
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace spankey::worker_test
