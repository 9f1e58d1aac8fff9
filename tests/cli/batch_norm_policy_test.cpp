// Networks with BatchNorm: which statistics the policies keep, and statistics in common.
#include "batch_norm_run.h"

namespace spankey::test::batch_norm_policy_test {
namespace {

// What a policy decides is which statistics evaluation sees. Training normalises with those of the batch, so that the
// weights come out the same.
TEST_F(BatchNormRun, PoliciesDifferInRunningStatisticsAlone) {
  const std::vector<std::string> policies{"polluted", "freeze_deny", "split", "recalibrate_ok"};
  for (const auto& policy : policies) {
    expect_success(train(1, policy, {"model.batchnorm=" + policy, "train.epochs=1"}));
    EXPECT_EQ(digests(policy, "parameters"), digests("polluted", "parameters")) << policy;
  }
  const std::string mean = "buffers/layer2.0.bn1.running_mean", deny = mean + "_deny";
  const auto polluted = digests("polluted", "buffers"), frozen = digests("freeze_deny", "buffers"),
             split = digests("split", "buffers"), recalibrated = digests("recalibrate_ok", "buffers");
  EXPECT_NE(frozen.at(mean), polluted.at(mean));
  EXPECT_NE(recalibrated.at(mean), polluted.at(mean));
  EXPECT_EQ(split.at(mean), frozen.at(mean));
  EXPECT_NE(split.at(deny), split.at(mean));
  EXPECT_EQ(split.size(), 2 * polluted.size());
}

TEST_F(BatchNormRun, RecalibrationAndSplitAreElasticToo) {
  for (const std::string policy : {"recalibrate_ok", "split"}) {
    for (const int ranks : {1, 2})
      expect_success(train(ranks, policy + std::to_string(ranks), {"model.batchnorm=" + policy, "train.epochs=1"}));
    EXPECT_EQ(tensors(policy + "1"), tensors(policy + "2"));
  }
}

TEST_F(BatchNormRun, SynchronisedOverShardsIsRefusedAndOverRanksWithoutSamplesToo) {
  const auto outcome = test::run(train(1, "run", {"model.sync_batchnorm=true"}), folder.path());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_NE(outcome.err.find("model.sync_batchnorm = true: dist.reduction = \"elastic\""), std::string::npos)
      << outcome.err;
  const auto small = test::run(train(2, "run",
                                     {"model.sync_batchnorm=true", "dist.reduction=fast", "dist.shards=0",
                                      "train.global_batch=3", "train.drop_last=false"}),
                               folder.path());
  EXPECT_EQ(small.exit_code, 2);
  EXPECT_NE(small.err.find("a batch of 1 samples is too small for 2 ranks"), std::string::npos) << small.err;
}

// Two ranks with their statistics in common are one process with the whole batch, up to rounding.
TEST_F(BatchNormRun, SynchronisedRanksLearnWhatOneProcessLearns) {
  const auto loss = [&](int ranks, const std::string& run, const std::string& sync) {
    expect_success(train(ranks, run,
                         {"dist.reduction=fast", "dist.shards=0", "train.epochs=1", "train.drop_last=true",
                          "model.sync_batchnorm=" + sync}));
    return metrics(run).at(0)["loss"].get<double>();
  };
  const double one = loss(1, "one", "true"), two = loss(2, "two", "true"), apart = loss(2, "apart", "false");
  EXPECT_NEAR(two, one, 2e-3);
  EXPECT_GT(std::abs(apart - one), 1e-2);
}

}  // namespace
}  // namespace spankey::test::batch_norm_policy_test
