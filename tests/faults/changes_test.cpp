// A start with another configuration, other data or another program than the checkpoint was made with.
#include <gmock/gmock.h>

#include "base/file.h"
#include "faults/budget.h"
#include "faults/faulty_run.h"

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
  Child child(train(1, "run", {few}), folder.path());
  wait_for_step(child, "run", 6);
  child.kill_tree();
  child.wait();
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

// Other data and another program, as a checkpoint that tells of them shows.
TEST_F(FaultyRun, ChangedDataAndProgramsAreRefusedWithADiff) {
  Child child(train(1, "run"), folder.path());
  wait_for_step(child, "run", 6);
  child.kill_tree();
  child.wait();
  const auto original = newest_checkpoint("run");
  const auto path = checkpoint_path(folder / "run/checkpoints", original.cursor.global_step);
  int refused = 0;
  const auto expect_refused = [&](const Checkpoint& changed, const char* diff) {
    write_durably(path, encode_checkpoint(changed));
    const auto outcome = test::run(train(1, "run"), folder.path());
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr(diff), HasSubstr(path.filename().string()), HasSubstr("--allow-change")));
    refused += outcome.exit_code == 2;
  };
  auto changed = original;
  changed.data_digest = std::string(64, '0');
  expect_refused(changed, "data: 0000000000000000 -> ");
  changed = original;
  changed.program = "0.0.9 (git 01234567)";
  expect_refused(changed, "program: 0.0.9 (git 01234567) -> ");
  report("R17", "changes of data and program refused", refused, 2);
  // The mutant: a start that compares nothing goes on.
  expect_success(train(1, "run", {"--allow-change"}));
  report_mutants("R17", "a start that compares nothing", 1, 1);
  write_durably(path, encode_checkpoint(changed));  // looking at a finished run is no training
  expect_success(train(1, "run"));
}

}  // namespace
}  // namespace spankey::test::changes_test
