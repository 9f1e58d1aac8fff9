// A start with another configuration, other data or another program than the checkpoint was made with.
#include <gmock/gmock.h>

#include <cstdint>
#include <random>
#include <utility>

#include "base/file.h"
#include "data/dataset.h"
#include "faults/budget.h"
#include "faults/faulty_run.h"
#include "record/run_directory.h"

namespace spankey::test::changes_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct Change {
  const char* override;
  const char* diff;
};

TEST_F(FaultyRun, AChangedConfigurationIsRefusedWithADiff) {
  expect_success(train(1, "run", {"train.epochs=1"}));
  const Change changes[] = {
      {"run.seed=43", "run.seed: 42 -> 43"},
      {"data.limit=512", "data.limit: 1024 -> 512"},
      {"key.gamma=1.0", "key.gamma: 0.5 -> 1"},
      {"key.m=3", "key.m: "},
      {"deny.mode=none", "deny.mode: "},
      {"optim.lr=0.5", "optim.lr: "},
      {"train.global_batch=64", "train.global_batch: 128 -> 64"},
      {"train.epochs=2", "train.epochs: 1 -> 2"},
      {"dist.reduction=elastic", "dist.reduction: "},
  };
  int refused = 0;
  for (const auto& [override, diff] : changes) {
    std::vector<std::string> more{"train.epochs=1", override};
    const auto outcome = test::run(train(1, "run", more), folder.path());
    EXPECT_EQ(outcome.exit_code, 2) << override << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr(diff), HasSubstr("--allow-change")));
    refused += outcome.exit_code == 2;
  }
  report("R17", "changes of the configuration refused", refused, std::size(changes));
  EXPECT_EQ(test::run(train(1, "run", {"train.epochs=1", "checkpoint.keep=5"}), folder.path()).exit_code, 0);
}

// The mutants: runs whose files tell what the next start wants to hear are not refused, and end with other weights than
// a run of that configuration.
TEST_F(FaultyRun, RunsThatTellOfAnotherConfigurationAreCaught) {
  const std::string few = "train.epochs=3";
  train_and_kill("run", 6, {few});
  const auto original = newest_checkpoint("run");
  int caught = 0;
  for (const std::string override : {"key.gamma=1.0", "optim.lr=0.01"}) {
    expect_success(train(1, "of " + override, {few, override}));
    const auto truth = newest_checkpoint("of " + override);
    const auto run = "forged " + override;
    std::filesystem::copy(folder / "run", folder / run, std::filesystem::copy_options::recursive);
    std::filesystem::copy_file(folder / ("of " + override + "/config.toml"), folder / (run + "/config.toml"),
                               std::filesystem::copy_options::overwrite_existing);
    auto forged = original;
    forged.config_toml = truth.config_toml;
    forged.config_hash = truth.config_hash;
    write_durably(checkpoint_path(folder / (run + "/checkpoints"), original.cursor.global_step),
                  encode_checkpoint(forged));
    const auto outcome = test::run(train(1, run, {few, override}), folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const bool seen = outcome.exit_code != 2 && tensors(run) != tensors("of " + override);
    EXPECT_TRUE(seen) << override;
    caught += seen;
  }
  report_mutants("R17", "runs that tell of another configuration", caught, 2);
}

// As a checkpoint that tells of another program shows.
TEST_F(FaultyRun, AChangedProgramIsRefusedWithADiff) {
  train_and_kill("run", 6);
  auto changed = newest_checkpoint("run");
  const auto path = checkpoint_path(folder / "run/checkpoints", changed.cursor.global_step);
  changed.program = "0.0.9 (git 01234567)";
  write_durably(path, encode_checkpoint(changed));
  const auto outcome = test::run(train(1, "run"), folder.path());
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("program: 0.0.9 (git 01234567) -> "), HasSubstr(path.filename().string()),
                                 HasSubstr("--allow-change")));
  report("R17", "changes of the program refused", outcome.exit_code == 2, 1);
  expect_success(train(1, "run", {"--allow-change"}));
  write_durably(path, encode_checkpoint(changed));  // looking at a finished run is no training
  expect_success(train(1, "run"));
}

// 256 images of noise.
void make_data(const std::filesystem::path& path, std::uint32_t seed) {
  std::mt19937 random(seed);
  DatasetContent content;
  content.sample_shape = {1, 28, 28};
  for (int i = 0; i < 10; ++i) content.class_names.push_back(std::to_string(i));
  content.source = "made for a test";
  for (auto* split : {&content.train, &content.test})
    for (std::int64_t i = 0; i < 256; ++i) {
      split->labels.push_back(i % 10);
      for (int pixel = 0; pixel < 28 * 28; ++pixel) split->images.push_back(static_cast<std::uint8_t>(random() & 255));
    }
  Dataset::in_memory(std::move(content))->save(path);
}

// Other data under the same name. The mutant: a start that compares nothing (--allow-change) goes on, ends with the
// weights of neither data set, and its newest checkpoint and its result tell of other data than its first checkpoints.
TEST_F(FaultyRun, ChangedDataAreRefusedWithADiff) {
  const std::vector<std::string> words{"data.file=data.h5", "data.limit=0", "train.epochs=16"};
  const auto allowed = [&] {
    auto more = words;
    more.emplace_back("--allow-change");
    return more;
  }();
  make_data(folder / "data.h5", 1);
  expect_success(train(1, "first", words));
  train_and_kill("mixed", 6, words);
  const auto before = newest_checkpoint("mixed");
  const auto place = checkpoint_path("", before.cursor.global_step).filename().string();
  make_data(folder / "data.h5", 2);
  expect_success(train(1, "second", words));
  const auto digest = result("second")["data_digest"].get<std::string>();
  const auto diff = "data: " + before.data_digest.substr(0, 16) + " -> " + digest.substr(0, 16);
  const auto outcome = test::run(train(1, "mixed", words), folder.path());
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr(diff), HasSubstr(place), HasSubstr("--allow-change")));
  EXPECT_EQ(newest_step("mixed"), before.cursor.global_step);
  report("R17", "changes of the data refused", outcome.exit_code == 2, 1);

  EXPECT_THAT(test::run(train(1, "mixed", allowed), folder.path()).err, HasSubstr(diff));
  const auto after = newest_checkpoint("mixed");
  const bool weights = tensors("mixed") != tensors("first") && tensors("mixed") != tensors("second");
  const bool digests = before.data_digest != after.data_digest && after.data_digest == digest &&
                       result("mixed")["data_digest"] == digest;
  EXPECT_TRUE(weights);
  EXPECT_TRUE(digests);
  report_mutants("R17", "a start on other data that compares nothing, by its weights and by its digests",
                 weights + digests, 2);
}

}  // namespace
}  // namespace spankey::test::changes_test
