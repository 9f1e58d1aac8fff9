#include "dist/on_all_ranks.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "dist/communicator.h"
#include "support/thread_communicator.h"

namespace spankey::together_test {
namespace {

constexpr int ranks = 3;

// Runs `work(rank)` together on all ranks; what each one threw ("none" where it returned).
std::vector<std::string> outcomes(const std::function<void(int)>& work) {
  auto communicators = make_thread_communicators(ranks);
  std::vector<std::string> seen(ranks);
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      const auto rank = static_cast<std::size_t>(r);
      try {
        on_all_ranks(*communicators[rank], [&] { work(r); });
        seen[rank] = "none";
      } catch (const AgreedError& error) {
        seen[rank] = std::to_string(static_cast<int>(error.code())) + " " + error.what();
      }
    });
  for (auto& thread : threads) thread.join();
  return seen;
}

TEST(OnAllRanks, ReturnsWhereAllSucceed) {
  EXPECT_EQ(outcomes([](int) {}), (std::vector<std::string>{"none", "none", "none"}));
}

TEST(OnAllRanks, TheErrorOfOneRankEndsAllAndItAloneSpeaks) {
  const auto seen = outcomes([](int rank) {
    if (rank == 1) fail_input("no such file");
  });
  EXPECT_EQ(seen, (std::vector<std::string>{"2 ", "2 rank 1: no such file", "2 "}));
}

TEST(OnAllRanks, OfSeveralErrorsTheLowestRankSpeaks) {
  const auto seen = outcomes([](int rank) {
    if (rank == 0) fail_input("bad key");
    if (rank == 2) fail_run("disk full");
  });
  EXPECT_EQ(seen, (std::vector<std::string>{"2 bad key", "2 ", "2 "}));
}

}  // namespace
}  // namespace spankey::together_test
