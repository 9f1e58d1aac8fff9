// Networks with BatchNorm: running statistics over shards, ranks and interruptions.
#include <fmt/format.h>

#include "batch_norm_run.h"

namespace spankey::test::batch_norm_test {
namespace {

// The last batch of an epoch has 4 samples: one for each shard.
TEST_F(BatchNormRun, OneTwoAndFourRanksGiveTheSameBits) {
  for (const int ranks : {1, 2, 4}) expect_success(train(ranks, "ranks" + std::to_string(ranks)));
  for (const char* run : {"ranks2", "ranks4"}) {
    EXPECT_EQ(tensors(run), tensors("ranks1"));
    EXPECT_EQ(result(run)["weights_sha256"], result("ranks1")["weights_sha256"]);
    EXPECT_EQ(metrics(run), metrics("ranks1"));
  }
}

// The negative control: other shards measure other statistics, and the digests show it.
TEST_F(BatchNormRun, FastReductionDoesNot) {
  for (const int ranks : {1, 2})
    expect_success(train(ranks, "ranks" + std::to_string(ranks), {"dist.reduction=fast", "dist.shards=0"}));
  const auto one = digests("ranks1", "buffers"), two = digests("ranks2", "buffers");
  ASSERT_EQ(one.size(), two.size());
  for (const auto& [name, digest] : one) EXPECT_NE(two.at(name), digest) << name;
}

// An interruption in the second epoch leaves no trace in the buffers.
TEST_F(BatchNormRun, ResumesToTheSameBits) {
  expect_success(train(1, "whole", {"model.batchnorm=split"}));
  std::filesystem::copy(folder / "whole", folder / "cut", std::filesystem::copy_options::recursive);
  std::filesystem::remove(folder / "cut/result.json");
  for (const int step : {6, 7, 8})
    EXPECT_TRUE(std::filesystem::remove(folder / fmt::format("cut/checkpoints/step_{:08}.h5", step)));
  EXPECT_NE(tensors("cut"), tensors("whole"));
  expect_success(train(2, "cut", {"model.batchnorm=split"}));
  EXPECT_EQ(tensors("cut"), tensors("whole"));
}

}  // namespace
}  // namespace spankey::test::batch_norm_test
