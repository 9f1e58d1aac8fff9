// What is refused before anything is trained, through the real program: by `config`, by `train --dry-run`, by a sweep's
// plan, by options. One line with the key or flag, the value and what would be accepted; exit code 2.
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>

#include "small_run.h"

namespace spankey::test::check_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Check : public SmallRun {
 protected:
  Outcome spankey(std::vector<std::string> arguments) const {
    return run(on_ranks(1, std::move(arguments)), folder.path());
  }

  void expect_refused(const Outcome& outcome, const testing::Matcher<std::string>& line) const {
    EXPECT_EQ(outcome.exit_code, 2) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, line);
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
};

// Each of these was accepted by `config` and refused by `train` later.
TEST_F(Check, ConfigRefusesWhatTrainingCannotDo) {
  const auto refused = [&](const std::vector<std::string>& overrides, const testing::Matcher<std::string>& line) {
    std::vector<std::string> arguments{"config", "small.toml"};
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    expect_refused(spankey(arguments), line);
  };
  refused({"model.name=small_cn"}, AllOf(HasSubstr("model.name = \"small_cn\""), HasSubstr("did you mean 'small_cnn'?"),
                                         Not(HasSubstr("data.file"))));
  refused({"deny.mode=cpluss"}, HasSubstr("command line: deny.mode = \"cpluss\": accepted: \"none\""));
  refused({"optim.name=lion"}, HasSubstr("optim.name = \"lion\""));
  refused({"eval.families=[\"gausian\"]"}, HasSubstr("did you mean 'gaussian'?"));
  refused({"key.layers=[0,3]"}, HasSubstr("injection points 0 to 2"));
  refused({"key.m=785"}, HasSubstr("1 to 784"));
  refused({"data.file=builtin:glyps"}, HasSubstr("did you mean 'builtin:glyphs'?"));
  refused({"model.sync_batchnorm=true", "dist.reduction=elastic"}, HasSubstr("\"fast\""));
  refused({"train.capture=on", "key.alpha=codebook"}, HasSubstr("key.alpha = \"codebook\" is looked up on the host"));
  refused({"data.limit=100"}, HasSubstr("train.global_batch"));
  refused({"eval.keys=100000000000"}, HasSubstr("0 to 1000000"));
  EXPECT_EQ(spankey({"config", "small.toml", "deny.mode=CPLUS"}).exit_code, 0);
}

TEST_F(Check, TheKeysThatNobodyCanTryAreRefusedBeforeTheTraining) {
  expect_refused(run(train(1, "run", {"eval.keys=100000000000"}), folder.path()),
                 HasSubstr("eval.keys = 100000000000"));
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
}

TEST_F(Check, ASweepIsCheckedTrialByTrialBeforeItRuns) {
  std::ofstream(folder / "sweep.toml") << "[sweep]\nbase = \"small.toml\"\n[axes]\n\"deny.mode\" = [\"B\", \"cplus\"]\n"
                                          "\"key.layers\" = [[0], [0, 3]]\n";
  expect_refused(spankey({"sweep", "plan", "sweep.toml"}),
                 AllOf(HasSubstr("sweep.toml:5: key.layers = [0, 3]"), HasSubstr("injection points 0 to 2")));
  std::ofstream(folder / "sweep.toml")
      << "[sweep]\nbase = \"small.toml\"\n[axes]\n\"model.name\" = [\"mlp\", \"small_cnn\"]\n"
         "[set]\n\"key.layers\" = [0]\n";
  expect_refused(spankey({"sweep", "plan", "sweep.toml"}),
                 AllOf(HasSubstr("sweep.toml:4: model.name = \"mlp\""), HasSubstr("(1, 28, 28)")));
}

TEST_F(Check, ADryRunTellsWhatWouldBeDoneAndWritesNothing) {
  const auto outcome = run(train(1, "run", {"--dry-run"}), folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  // 1024 of 4096 digits in batches of 128; 16 * 9 + 16 + 32 * 16 * 9 + 32 + 32 * 49 * 11 + 11 parameters.
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("8 epochs of 8 steps, 64 in all"), HasSubstr("small_cnn: 22059 parameters"),
                                 HasSubstr("1 x 28 x 28, 10 classes; 1024 for training"),
                                 HasSubstr("injection points 0, 2"), HasSubstr("run directory  run, new")));
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
  EXPECT_FALSE(std::filesystem::exists(folder / "runs"));
  // What only the data can tell.
  expect_refused(run(train(1, "run", {"--dry-run", "data.file=missing.h5"}), folder.path()), HasSubstr("missing.h5"));
  expect_refused(run(train(1, "run", {"--dry-run", "model.name=resnet18"}), folder.path()),
                 AllOf(HasSubstr("model.name = \"resnet18\""), HasSubstr("accepted for these data: small_cnn")));
  expect_refused(
      run(train(1, "run", {"--dry-run", "data.limit=0", "train.global_batch=4097", "dist.threads=1"}), folder.path()),
      HasSubstr("the training split has 4096 samples"));
  expect_success(train(1, "run", {"train.epochs=1"}));
  EXPECT_THAT(run(train(1, "run", {"train.epochs=1", "--dry-run"}), folder.path()).out, HasSubstr("which holds a run"));
}

// Numbers of options are those of overrides: 010 was 8, nan was inside every range, 1_000 was none.
TEST_F(Check, NumbersOfOptions) {
  expect_success(train(1, "run", {"train.epochs=1"}));
  const auto refused = [&](const std::string& flag, const std::string& word, const char* why) {
    expect_refused(spankey({"eval", "run", flag, word}), AllOf(HasSubstr(flag), HasSubstr(word), HasSubstr(why)));
  };
  refused("--keys", "1e3", "accepted: an integer from 0 to 1000000; an integer is written 1000");
  refused("--keys", "100000000000", "0 to 1000000");
  refused("--keys", "9223372036854775808", "integers go up to 9223372036854775807");
  refused("--keys", "010", "without leading zeros, 10");
  refused("--keys", "-1", "0 to 1000000");
  refused("--keys", "two", "accepted: an integer");
  refused("--norm-sweep", "nan", "infinity and NaN are no values here");
  refused("--norm-sweep", "inf", "infinity and NaN are no values here");
  refused("--norm-sweep", "1e4", "from 0.001 to 1000");
  refused("--families", "gausian", "did you mean 'gaussian'?");
  const auto outcome = spankey({"eval", "run", "--keys", "0x2", "--norm-sweep", ".5,+1.,2", "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto sweep = nlohmann::json::parse(outcome.out)["norm_sweep"];
  EXPECT_EQ(sweep.size(), 3U);
  expect_success(on_ranks(1, {"data", "render", "glyphs", "--train", "1_0", "--test", "10", "--out", "g.h5"}));
  expect_refused(spankey({"data", "render", "glyphs", "--train", "1e2", "--out", "g.h5"}),
                 AllOf(HasSubstr("--train: 1e2"), HasSubstr("an integer is written 100")));
  expect_refused(spankey({"sweep", "run", "absent.toml", "--jobs", "2."}), HasSubstr("an integer is written 2"));
}

}  // namespace
}  // namespace spankey::test::check_test
