// What a user can get wrong, through the real program: exit code 2 (or 3 for a run that fails), one line that says what
// to change, nothing lost.
#include <algorithm>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "base/hdf5_file.h"
#include "data/dataset.h"
#include "small_run.h"
#include "support/expect_error.h"

namespace spankey::test::bad_input_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class BadInput : public SmallRun {
 protected:
  Outcome train_file(const std::string& config, std::vector<std::string> more = {}, int ranks = 1) const {
    std::vector<std::string> arguments{"train", config, "--run-dir", "run"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(on_ranks(ranks, arguments), folder.path());
  }

  // Exit code 2 and exactly one line of our own.
  void expect_refused(const Outcome& outcome, const testing::Matcher<std::string>& line) const {
    EXPECT_EQ(outcome.exit_code, 2) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, line);
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
};

TEST_F(BadInput, Configuration) {
  expect_refused(train_file("missing.toml"), HasSubstr("missing.toml"));
  write("empty.toml", "");
  expect_refused(train_file("empty.toml"), HasSubstr("empty.toml"));
  write("cut.toml", "[key]\ngamma = ");
  expect_refused(train_file("cut.toml"), HasSubstr("cut.toml:2"));
  write("binary.toml", std::string("\x89PNG\0\x1a\n", 7));
  expect_refused(train_file("binary.toml"), HasSubstr("binary.toml"));
  write("typo.toml", "[key]\ngama = 1.0\n");
  expect_refused(train_file("typo.toml"), AllOf(HasSubstr("typo.toml:2"), HasSubstr("gama"), HasSubstr("'key.gamma'")));
  write("type.toml", "[train]\nepochs = \"ten\"\n");
  expect_refused(train_file("type.toml"), AllOf(HasSubstr("type.toml:2"), HasSubstr("train.epochs"), HasSubstr("ten")));
  expect_refused(train_file("small.toml", {"key.gamma=-1"}), AllOf(HasSubstr("command line"), HasSubstr("key.gamma")));
  expect_refused(train_file("."), HasSubstr("."));
}

TEST_F(BadInput, UnderMpirunOneRankSpeaks) {
  const auto outcome = train_file("missing.toml", {}, 2);
  EXPECT_EQ(outcome.exit_code, 2);
  const auto first = outcome.err.find("spankey: ");
  ASSERT_NE(first, std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find("spankey: ", first + 1), std::string::npos) << outcome.err;
}

TEST_F(BadInput, LayersAndDimensions) {
  expect_refused(train_file("small.toml", {"key.layers=[0,3]"}),
                 AllOf(HasSubstr("key.layers"), HasSubstr("injection points 0 to 2")));
  expect_refused(train_file("small.toml", {"key.m=785"}), AllOf(HasSubstr("key.m"), HasSubstr("1 to 784")));
  expect_refused(train_file("small.toml", {"model.name=small_cn"}), HasSubstr("small_cnn"));
  expect_refused(train_file("small.toml", {"deny.mode=D"}), AllOf(HasSubstr("deny.mode"), HasSubstr("A_soft")));
  expect_refused(train_file("small.toml", {"optim.name=lion"}), AllOf(HasSubstr("optim.name"), HasSubstr("adamw")));
  expect_refused(train_file("small.toml", {"train.device=cuda"}), HasSubstr("train.device"));
}

TEST_F(BadInput, Shards) {
  const std::vector<std::string> elastic{"dist.reduction=elastic"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), elastic.begin(), elastic.end());
    return more;
  };
  expect_refused(train_file("small.toml", with({"dist.shards=3", "train.global_batch=120"})), HasSubstr("dist.shards"));
  expect_refused(train_file("small.toml", with({"dist.shards=16", "train.global_batch=120"})),
                 HasSubstr("global_batch"));
  const auto outcome = train_file("small.toml", with({"dist.shards=4"}), 3);
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("dist.shards"), HasSubstr("ranks (3)")));
}

TEST_F(BadInput, Data) {
  expect_refused(train_file("small.toml", {"data.file=missing.h5"}), HasSubstr("missing.h5"));
  write("garbage.h5", "this is not HDF5");
  expect_refused(train_file("small.toml", {"data.file=garbage.h5"}), HasSubstr("garbage.h5"));
  ASSERT_EQ(run({program(), "data", "render", "argmax", "--out", "argmax.h5"}, folder.path()).exit_code, 0);
  expect_refused(train_file("small.toml", {"data.file=argmax.h5"}), HasSubstr("argmax.h5"));
  {
    std::fstream file(folder / "argmax.h5", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-5000, std::ios::end);
    file.put('\x55');
  }
  const std::vector<std::string> with_argmax{"data.file=argmax.h5", "model.name=mlp", "key.layers=[0]"};
  expect_refused(train_file("small.toml", with_argmax), AllOf(HasSubstr("argmax.h5"), HasSubstr("SHA-256")));
  expect_refused(run(on_ranks(1, {"data", "info", "argmax.h5", "--verify"}), folder.path()),
                 AllOf(HasSubstr("argmax.h5"), HasSubstr("SHA-256")));
  std::filesystem::resize_file(folder / "argmax.h5", std::filesystem::file_size(folder / "argmax.h5") / 2);
  expect_refused(train_file("small.toml", with_argmax), HasSubstr("argmax.h5"));
}

// The first step at this rate still has a finite loss and ruins the weights; the second one, before the next save,
// shows it.
TEST_F(BadInput, ANonFiniteLossStopsAllRanksAndKeepsTheLastCheckpoint) {
  const auto at_once = train_file("small.toml", {"optim.lr=1e30"}, 2);
  EXPECT_EQ(at_once.exit_code, 3);
  EXPECT_THAT(at_once.err + at_once.out, AllOf(HasSubstr("not finite"), HasSubstr("no checkpoint yet")));
  std::filesystem::remove_all(folder / "run");
  const std::vector<std::string> good{"checkpoint.every_steps=5", "train.epochs=1"};
  expect_success(train(2, "run", good));
  const auto kept = tensors("run");
  const auto outcome =
      train_file("small.toml", {"checkpoint.every_steps=5", "train.epochs=20", "optim.lr=1e30", "--allow-change"}, 2);
  EXPECT_EQ(outcome.exit_code, 3) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err + outcome.out,
              AllOf(HasSubstr("not finite"), HasSubstr("optim.lr"), HasSubstr("is from before it")));
  EXPECT_FALSE(std::filesystem::exists(folder / "run/result.json"));
  EXPECT_EQ(tensors("run"), kept);
  expect_success(on_ranks(1, {"eval", "run"}));
  expect_success(train(2, "run", {"checkpoint.every_steps=5", "train.epochs=2", "--allow-change"}));
}

TEST_F(BadInput, AChangedConfigurationIsRefusedWithADiff) {
  expect_success(train(1, "run"));
  expect_refused(train_file("small.toml", {"key.gamma=1.0"}),
                 AllOf(HasSubstr("key.gamma: 0.5 -> 1"), HasSubstr("--allow-change")));
  // The run keeps its basis: config.toml would tell of a seed that did not make it.
  for (const auto& [change, reason] : {std::pair{"key.seed=7", "another basis"}, {"key.private=true", "key.private"}}) {
    const auto outcome = train_file("small.toml", {change, "--allow-change"});
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("error: run/secret/basis.h5"), HasSubstr(reason)));
  }
  EXPECT_EQ(train_file("small.toml", {"checkpoint.keep=5", "run.name=other"}).exit_code, 0);
  expect_refused(train_file("small.toml", {"--resume", "never"}), HasSubstr("--resume never"));
}

TEST_F(BadInput, ResumeRequireWithoutACheckpoint) {
  expect_refused(train_file("small.toml", {"--resume", "require"}), HasSubstr("no valid checkpoint"));
}

TEST_F(BadInput, RunDirectoryThatCannotBeWritten) {
  write("file", "");
  auto command = train(1, "file/run");
  expect_refused(run(command, folder.path()), HasSubstr("file/run"));
}

// On a file system of its own with room for three checkpoints and not for a fourth.
TEST_F(BadInput, AFullDiskEndsTheRunAndItGoesOnOnceThereIsRoom) {
  const auto disk = (folder / "disk").string();
  std::filesystem::create_directory(disk);
  if (run({"mount", "-t", "tmpfs", "-o", "size=1100k", "tmpfs", disk}, folder.path()).exit_code != 0)
    GTEST_SKIP() << "mounting a small file system takes root";
  expect_success(train(1, "undisturbed"));
  const auto outcome = run(train(1, "disk/run"), folder.path());
  EXPECT_EQ(outcome.exit_code, 3) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("disk/run"), HasSubstr("No space left")));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(disk))
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
  EXPECT_EQ(run({"mount", "-o", "remount,size=16m", disk}, folder.path()).exit_code, 0);
  const auto after = run(train(1, "disk/run"), folder.path());
  EXPECT_EQ(after.exit_code, 0) << after.err;
  EXPECT_THAT(after.out + after.err, HasSubstr("resuming from"));
  EXPECT_EQ(tensors("disk/run"), tensors("undisturbed"));
  run({"umount", disk}, folder.path());
}

TEST_F(BadInput, TwoRunsOnOneDirectory) {
  Child first(train(1, "run", {"train.epochs=1000"}), folder.path());
  while (first.running() && !std::filesystem::exists(folder / "run/checkpoints/step_00000003.h5"))
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_TRUE(first.running());
  expect_refused(train_file("small.toml", {"train.epochs=1000"}), HasSubstr("in use by another run"));
  EXPECT_TRUE(first.running());
}

TEST_F(BadInput, DataOfOneClass) {
  const SplitContent split{.images = {}, .features = {1, 2, 3, 4}, .labels = {0, 0}};
  Dataset::in_memory({{2}, {"only"}, "made here", split, split})->save(folder / "one.h5");
  expect_refused(train_file("small.toml", {"data.file=one.h5", "model.name=mlp", "key.layers=[0]"}),
                 AllOf(HasSubstr("data.file"), HasSubstr("2 classes or more")));
}

TEST_F(BadInput, InspectionOfWhatIsNotOurs) {
  auto file = h5::File::create();
  file.set_attribute("/", "kind", std::string("forged"));
  const std::vector<std::int64_t> shape{1};
  const std::vector<float> values{0.5f};
  file.write<float>("a/a/a/a/a/a/a/a/a/a", shape, values);
  write_durably(folder / "deep.h5", file.image());
  expect_refused(run(on_ranks(1, {"inspect", "deep.h5"}), folder.path()), AllOf(HasSubstr("deep.h5"), HasSubstr("8")));
  expect_success(train(1, "run", {"train.epochs=1"}));
  write("run/result.json", "{");
  expect_refused(run(on_ranks(1, {"inspect", "run"}), folder.path()), HasSubstr("run/result.json: expected JSON"));
}

TEST_F(BadInput, CommandLine) {
  const auto refused = [&](std::vector<std::string> arguments, const char* word) {
    expect_refused(run(on_ranks(1, std::move(arguments)), folder.path()), HasSubstr(word));
  };
  refused({"trian", "small.toml"}, "trian");
  refused({"train"}, "CONFIG");
  refused({"train", "small.toml", "--resume", "sometimes"}, "sometimes");
  refused({"train", "small.toml", "key.gamma"}, "key.gamma");
  refused({"eval", "nowhere"}, "nowhere");
  refused({"inspect", "nowhere.h5"}, "nowhere.h5");
  refused({"data", "render", "argmax", "--out", "no/where.h5"}, "--out no/where.h5");
  refused({"data", "import", "folder", "--from", ".", "--out", "no/where.h5"}, "--out no/where.h5");
  refused({"data", "info", "builtin:glyphs", "--sheet", "no/where.png"}, "--sheet no/where.png");
}

}  // namespace
}  // namespace spankey::test::bad_input_test
