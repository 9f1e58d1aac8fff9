#include "train/experiment.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <torch/utils.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/hdf5_file.h"
#include "data/dataset.h"
#include "spankey/models/precision.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/thread_communicator.h"
#include "train/on_all_ranks.h"

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

// What docs/decisions/own-reducer.md measured, by the place of the ranks.
TEST(Experiment, GradientsLeaveDuringBackwardWhereThatTakesNoCoreFromIt) {
  const Communicator::Topology one_node{.rank = 0, .size = 2, .local_rank = 0, .local_size = 2};
  const Communicator::Topology two_nodes{.rank = 0, .size = 2, .local_rank = 0, .local_size = 1};
  const auto automatic = [](const Communicator::Topology& topology, bool stream_ordered, int cores, int threads) {
    return resolve_overlap(Overlap::auto_, topology, stream_ordered, cores, threads);
  };
  EXPECT_FALSE(automatic(one_node, false, /*cores=*/1, /*threads=*/1));
  EXPECT_FALSE(automatic(one_node, false, 4, 4));
  EXPECT_TRUE(automatic(one_node, false, 2, 1));
  EXPECT_TRUE(automatic(two_nodes, false, 1, 1));
  EXPECT_TRUE(automatic(one_node, true, 1, 1));
  EXPECT_TRUE(resolve_overlap(Overlap::on, one_node, false, 1, 1));
  EXPECT_FALSE(resolve_overlap(Overlap::off, two_nodes, true, 2, 1));
}

TEST(Experiment, TheCoresOfANodeAreSharedByItsRanks) {
  const auto all = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  EXPECT_EQ(cores_of_rank(all), 1);
  EXPECT_EQ(cores_of_rank(2 * all), 1);
  cpu_set_t before, first;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  EXPECT_EQ(cores_of_rank(1), std::min(CPU_COUNT(&before), all));
  int core = 0;
  while (!CPU_ISSET(core, &before)) ++core;
  CPU_ZERO(&first);
  CPU_SET(core, &first);
  ASSERT_EQ(sched_setaffinity(0, sizeof first, &first), 0);
  EXPECT_EQ(cores_of_rank(1), 1);  // as mpirun --bind-to core leaves it
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

// A Slurm job of four ranks on four of 64 cores: none of the ranks is bound, and four threads each would be too many.
// The same for the ranks of one of several trials that a sweep runs at a time.
TEST(Experiment, AJobOrATrialOnAPartOfAMachineSharesThatPart) {
  const auto whole = cores_of_rank(1);
  for (const char* variable : {"SLURM_CPUS_ON_NODE", "SPANKEY_CORES"}) {
    for (const auto& [allotted, cores] : {std::pair{"1", 1}, {"100000", whole}, {"many", whole}, {"-3", whole}}) {
      setenv(variable, allotted, 1);
      EXPECT_EQ(cores_of_rank(1), cores) << variable << "=" << allotted;
    }
    unsetenv(variable);
  }
}

TEST(Experiment, ThreadsAreThoseAskedForOrTheCoresOfTheRank) {
  const auto all = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t mine;
  ASSERT_EQ(sched_getaffinity(0, sizeof mine, &mine), 0);
  const auto threads = [](const std::vector<std::string>& overrides, int ranks_of_node) {
    return resolve_threads(config(overrides), ranks_of_node);
  };
  EXPECT_EQ(threads({"dist.reduction=fast"}, 1), std::min(CPU_COUNT(&mine), all));
  EXPECT_EQ(threads({"dist.reduction=fast"}, all), 1);
  const int more = all + 3;  // what no rule would give
  for (const int ranks_of_node : {1, all}) {
    EXPECT_EQ(threads({"dist.reduction=elastic"}, ranks_of_node), 1);
    for (const char* reduction : {"fast", "elastic"})
      EXPECT_EQ(
          threads({fmt::format("dist.reduction={}", reduction), fmt::format("dist.threads={}", more)}, ranks_of_node),
          more)
          << reduction;
  }
}

}  // namespace
}  // namespace spankey::experiment_test
