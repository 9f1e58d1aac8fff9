// One set of weights for every number of ranks.
#include "faults/budget.h"
#include "small_run.h"

namespace spankey::test::elastic_test {
namespace {

class Elastic : public SmallRun {};

TEST_F(Elastic, OneTwoAndFourRanksGiveTheSameBits) {
  const std::vector<std::string> elastic{"dist.reduction=elastic", "dist.shards=4"};
  for (const int ranks : {1, 2, 4}) expect_success(train(ranks, "ranks" + std::to_string(ranks), elastic));
  const auto one = result("ranks1");
  EXPECT_EQ(result("ranks2")["weights_sha256"], one["weights_sha256"]);
  EXPECT_EQ(result("ranks4")["weights_sha256"], one["weights_sha256"]);
  EXPECT_EQ(result("ranks4")["ranks"], 4);
  EXPECT_EQ(tensors("ranks4"), tensors("ranks1"));
  EXPECT_EQ(metrics("ranks4"), metrics("ranks1"));
  for (const char* kind : {"no_key", "correct_key", "wrong_key"}) EXPECT_EQ(result("ranks4")[kind], one[kind]);
  report("R3", "numbers of ranks (1, 2, 4) with the same bits", HasFailure() ? 0 : 3, 3);
}

// The mutant: without the tree of shards, the number of ranks shows in the bits.
TEST_F(Elastic, FastReductionDoesNot) {
  for (const int ranks : {1, 2}) expect_success(train(ranks, "ranks" + std::to_string(ranks)));
  const bool caught = result("ranks1")["weights_sha256"] != result("ranks2")["weights_sha256"];
  EXPECT_TRUE(caught);
  report_mutants("R3", "sums in the order of ranks", caught, 1);
  // ... but only there: the same keys, samples and losses, up to rounding.
  const auto one = metrics("ranks1"), two = metrics("ranks2");
  ASSERT_EQ(one.size(), two.size());
  EXPECT_NEAR(one[0]["loss"].get<double>(), two[0]["loss"].get<double>(), 1e-4);
}

TEST_F(Elastic, UnevenBatchesWorkUnderFast) {
  expect_success(train(3, "three", {"train.global_batch=100", "train.drop_last=false"}));
  EXPECT_EQ(result("three")["steps"], 8 * 11);
}

}  // namespace
}  // namespace spankey::test::elastic_test
