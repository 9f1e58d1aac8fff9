#include "train/experiment.h"

#include <gtest/gtest.h>
#include <torch/utils.h>

#include "spankey/precision.h"
#include "support/expect_error.h"

namespace spankey::experiment_test {
namespace {

using testing::HasSubstr;

Config config(const std::vector<std::string>& overrides) {
  return parse_config("", "test", overrides);
}

TEST(Experiment, Bf16NeedsAProcessorThatHasIt) {
  hide_bf16(true);
  EXPECT_ERROR(make_experiment(config({"train.precision=bf16"})), ExitCode::bad_input,
               testing::AllOf(HasSubstr("command line: train.precision = \"bf16\": this processor has no bfloat16"),
                              HasSubstr("accepted: float32")));
  EXPECT_NO_THROW(make_experiment(config({"train.precision=float32"})));
  hide_bf16(false);
}

TEST(Experiment, BatchNormOverTheGlobalBatchDoesNotGoWithElasticReduction) {
  EXPECT_ERROR(make_experiment(config({"model.sync_batchnorm=true", "dist.reduction=elastic"})), ExitCode::bad_input,
               testing::AllOf(HasSubstr("model.sync_batchnorm = true"), HasSubstr("\"fast\"")));
  EXPECT_NO_THROW(make_experiment(config({"model.sync_batchnorm=true", "dist.reduction=fast"})));
}

TEST(Experiment, ThePolicyDecidesOnBuffers) {
  const auto buffers = [](const std::string& policy) {
    return make_experiment(config({"model.name=small_resnet", "model.batchnorm=" + policy})).model->buffers().size();
  };
  EXPECT_EQ(buffers("polluted"), 30U);
  EXPECT_EQ(buffers("split"), 60U);
}

// 4096 images in batches of 4095 leave one for the last batch.
TEST(Experiment, EveryRankNeedsSamplesInEveryBatch) {
  const std::vector<std::string> uneven{"model.sync_batchnorm=true", "train.global_batch=4095",
                                        "train.drop_last=false"};
  const auto experiment = make_experiment(config(uneven));
  EXPECT_NO_THROW(require_full_batches(experiment, 1));
  EXPECT_ERROR(require_full_batches(experiment, 2), ExitCode::bad_input, HasSubstr("a batch of 1 samples"));
  auto dropped = uneven;
  dropped.back() = "train.drop_last=true";
  EXPECT_NO_THROW(require_full_batches(make_experiment(config(dropped)), 2));
  auto apart = uneven;
  apart.front() = "model.sync_batchnorm=false";
  EXPECT_NO_THROW(require_full_batches(make_experiment(config(apart)), 2));
}

}  // namespace
}  // namespace spankey::experiment_test
