// Networks with BatchNorm: running statistics over shards, ranks and interruptions.
#include <fmt/format.h>

#include <map>

#include "data/make_data.h"
#include "small_run.h"

namespace spankey::test {
namespace {

class BatchNormRun : public SmallRun {
 protected:
  void SetUp() override {
    make_image_data(28, 8, {1, 28, 28}, 4)->save(folder / "noise.h5");
    std::ofstream(folder / "small.toml") << R"(
[data]
file = "noise.h5"
[model]
name = "small_resnet"
[key]
layers = [0, 3]
[deny]
mode = "B"
on = ["wrong", "none"]
[train]
epochs = 2
global_batch = 8
drop_last = false
[eval]
keys = 1
every_epochs = 0
[checkpoint]
every_steps = 1
keep = 20
[dist]
threads = 1
reduction = "elastic"
shards = 4
)";
  }

  // SHA-256 by name, of the parameters or of the buffers.
  std::map<std::string, std::string> digests(const std::string& run, const std::string& group) const {
    std::map<std::string, std::string> result;
    for (const auto& tensor : tensors(run)) {
      const auto name = tensor["name"].get<std::string>();
      if (name.starts_with(group + "/")) result[name] = tensor["sha256"];
    }
    EXPECT_FALSE(result.empty());
    return result;
  }
};

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
}  // namespace spankey::test
