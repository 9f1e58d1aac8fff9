#include "train/experiment.h"

#include <gtest/gtest.h>
#include <torch/utils.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/hdf5_file.h"
#include "data/dataset.h"
#include "dist/on_all_ranks.h"
#include "spankey/models/precision.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/thread_communicator.h"

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

// `per_class` black images of each of two classes, sorted by class as a folder's are.
void save_sorted(const std::filesystem::path& path, int per_class) {
  DatasetContent content;
  content.sample_shape = {1, 28, 28};
  content.class_names = {"a", "b"};
  content.source = "made for a test";
  for (auto* split : {&content.train, &content.test}) {
    split->images.assign(static_cast<std::size_t>(2 * per_class) * 28 * 28, 7);
    for (int i = 0; i < 2 * per_class; ++i) split->labels.push_back(i / per_class);
  }
  Dataset::in_memory(std::move(content))->save(path);
}

// The first eight would be of one class. The choice is part of the hash; where it is the first ones, the hash is that
// of the configuration and the data as it always was.
TEST(Experiment, ALimitIsSpreadOverTheClassesAndPartOfTheHash) {
  const test::TemporaryFolder folder;
  save_sorted(folder / "sorted.h5", 10);
  const std::vector<std::string> limited{"data.file=" + (folder / "sorted.h5").string(), "data.limit=8",
                                         "train.global_batch=4"};
  const auto experiment = make_experiment(config(limited));
  EXPECT_EQ(experiment.train_subset, (std::vector<std::int64_t>{0, 1, 2, 3, 10, 11, 12, 13}));
  EXPECT_EQ(experiment.train_samples(), 8);
  const auto digest = experiment.dataset->info().digest;
  EXPECT_NE(experiment.hash, config_hash(experiment.config, digest));
  EXPECT_EQ(experiment.hash, config_hash(experiment.config, digest_with_limit(*experiment.dataset, 8)));

  const auto glyphs = make_experiment(config({"data.limit=130"}));
  EXPECT_EQ(glyphs.train_subset.size(), 130U);
  EXPECT_EQ(glyphs.train_subset.back(), 129);
  EXPECT_EQ(glyphs.hash, config_hash(glyphs.config, glyphs.dataset->info().digest));
  EXPECT_TRUE(make_experiment(config({"data.limit=1000000"})).train_subset.empty());
}

// Each of two ranks of a node opens its own file, one of them damaged.
std::vector<std::string> refusals(const std::vector<std::string>& files) {
  auto communicators = make_thread_communicators(static_cast<int>(files.size()), 60);
  std::vector<std::string> refused(files.size());
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < files.size(); ++r)
    threads.emplace_back([&, r] {
      try {
        const auto data = open_data(config({"data.file=" + files[r]}).data, *communicators[r]);
        EXPECT_GT(data->train().size, 0);
      } catch (const AgreedError& error) {
        refused[r] = std::string("refused ") + error.what();
      }
    });
  for (auto& thread : threads) thread.join();
  return refused;
}

TEST(OpenData, OneRankOfANodeHoldsAFileToItsDigest) {
  const test::TemporaryFolder folder;
  const auto good = (folder / "good.h5").string(), bad = (folder / "bad.h5").string();
  save_sorted(good, 10);
  save_sorted(bad, 10);
  const auto offset = *h5::File::open(bad).offset("train/images");
  std::fstream(bad, std::ios::in | std::ios::out | std::ios::binary).seekp(offset).put('x');
  EXPECT_THAT(refusals({bad, good}), testing::ElementsAre(HasSubstr("damaged or changed"), "refused "));
  EXPECT_THAT(refusals({good, bad}), testing::ElementsAre("", ""));
}

TEST(OpenData, ABuiltInSetIsTheSameForAllRanks) {
  auto communicators = make_thread_communicators(3, 60);
  std::vector<std::shared_ptr<const Dataset>> sets(communicators.size());
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < sets.size(); ++r)
    threads.emplace_back([&, r] { sets[r] = open_data(config({"data.file=builtin:argmax"}).data, *communicators[r]); });
  for (auto& thread : threads) thread.join();
  for (const auto& set : sets) {
    EXPECT_EQ(set->info().digest, sets[0]->info().digest);
    EXPECT_EQ(set->info().mean, sets[0]->info().mean);
    EXPECT_EQ(set->test().labels, sets[0]->test().labels);
    EXPECT_TRUE(std::equal(set->train().features.begin(), set->train().features.end(),
                           sets[0]->train().features.begin(), sets[0]->train().features.end()));
  }
}

}  // namespace
}  // namespace spankey::experiment_test
