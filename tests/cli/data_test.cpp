// What a run says of its data: changed, cut short or not finite while it trains, and which classes it sees.
#include <gmock/gmock.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/hdf5_file.h"
#include "data/dataset.h"
#include "small_run.h"

namespace spankey::test::data_test {
namespace {

using testing::AllOf, testing::HasSubstr, testing::Not;

// More epochs than anybody waits for: only what happens to the data ends these runs.
const std::vector<std::string> on_file{"data.file=g.h5", "data.limit=0", "train.epochs=100000", "eval.every_epochs=0"};

class Data : public SmallRun {
 protected:
  void SetUp() override {
    SmallRun::SetUp();
    expect_success({program(), "data", "render", "glyphs", "--train", "1024", "--test", "64", "--out", "g.h5"});
  }

  // Starts a run, lets it get to its first checkpoint, spoils the data, and waits for the end.
  template <class Spoil>
  Outcome spoil_under(int ranks, const std::string& run, Spoil&& spoil) const {
    Child child(train(ranks, run, on_file), folder.path());
    wait_for_step(child, run, 3);
    EXPECT_TRUE(child.running());
    spoil();
    return child.wait();
  }

  // `bytes` at the beginning of a data set of g.h5, in place.
  void overwrite(const std::string& file, const std::string& dataset, const std::string& bytes) const {
    const auto offset = *h5::File::open(folder / file).offset(dataset);
    std::fstream stream(folder / file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(offset);
    stream << bytes;
  }
};

TEST_F(Data, ChangedInPlaceTheyEndTheRun) {
  const auto before = newest_step("run");
  const auto outcome = spoil_under(1, "run", [&] { overwrite("g.h5", "train/images", std::string(5000, '\x55')); });
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("g.h5: the data were changed while they were in use"),
                                 HasSubstr("start again, to go on from the last checkpoint")));
  EXPECT_FALSE(std::filesystem::exists(folder / "run/result.json"));
  EXPECT_GT(newest_step("run"), before);
}

// Touched, or replaced by another file of that name, they are what they were: the run goes on until it is stopped.
TEST_F(Data, TouchedOrReplacedTheyAreTold) {
  Child child(train(1, "run", on_file), folder.path());
  wait_for_step(child, "run", 3);
  std::filesystem::last_write_time(folder / "g.h5", std::filesystem::file_time_type::clock::now());
  wait_for_step(child, "run", newest_step("run") + 6);
  std::filesystem::copy_file(folder / "g.h5", folder / "other.h5");
  std::filesystem::rename(folder / "other.h5", folder / "g.h5");
  wait_for_step(child, "run", newest_step("run") + 6);
  child.signal(SIGTERM);
  const auto outcome = child.wait();
  EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("g.h5: written to while in use; its content is still"),
                                 HasSubstr("g.h5: another file has taken this name")));
}

TEST_F(Data, CutShortTheyAreNamedAndEndTheRun) {
  for (const int ranks : {1, 2}) {
    const auto run = std::to_string(ranks);
    const auto outcome = spoil_under(ranks, run, [&] { std::filesystem::resize_file(folder / "g.h5", 4096); });
    EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("g.h5 cannot be read any more: it was cut short while it was in use"));
    EXPECT_FALSE(std::filesystem::exists(folder / (run + "/result.json")));
    expect_success({program(), "data", "render", "glyphs", "--train", "1024", "--test", "64", "--out", "g.h5"});
  }
}

// A loss of NaN is laid to the data where they are the reason, and to nothing that would not help.
TEST_F(Data, FeaturesThatAreNotFiniteAreNamed) {
  expect_success({program(), "data", "render", "argmax", "--out", "a.h5"});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  overwrite("a.h5", "train/features", std::string(reinterpret_cast<const char*>(&nan), sizeof nan));
  const std::vector<std::string> on_features{"data.file=a.h5", "model.name=mlp", "key.layers=[0]", "key.m=4",
                                             "data.limit=0"};
  auto command = on_features;
  for (const auto& [verify, words] :
       {std::pair("auto", "expected finite features, found nan (sample 0 of 'train/features')"),
        std::pair("never", "because the data are not: sample 0 of the training split of a.h5")}) {
    command.push_back(std::string("data.verify=") + verify);
    const auto outcome = run(train(1, verify, command), folder.path());
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr(words), Not(HasSubstr("optim.lr")))) << outcome.err;
    command = on_features;
  }
}

// Sorted by class, and a class that the test split lacks.
TEST_F(Data, WhatALimitChoosesAndWhatASplitLacksIsTold) {
  DatasetContent content;
  content.sample_shape = {1, 28, 28};
  content.class_names = {"ant", "bee", "cow", "doe"};
  content.source = "made for a test";
  for (auto [split, each, classes] : {std::tuple(&content.train, 200, 4), std::tuple(&content.test, 10, 3)})
    for (std::int64_t label = 0; label < classes; ++label)
      for (int i = 0; i < each; ++i) {
        split->labels.push_back(label);
        for (int p = 0; p < 28 * 28; ++p) split->images.push_back(static_cast<std::uint8_t>(p * (label + 1) + i));
      }
  Dataset::in_memory(std::move(content))->save(folder / "s.h5");
  const auto trained = run(train(1, "run", {"data.file=s.h5", "data.limit=130", "train.epochs=1"}), folder.path());
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(trained.err, AllOf(HasSubstr("data.limit = 130: of 800 training samples 130, 32 to 33 of each class"),
                                 HasSubstr("the test split has no sample of 1 of 4 classes: doe\n")));
  const auto seen = run({program(), "eval", "run"}, folder.path());
  EXPECT_EQ(seen.exit_code, 0) << seen.err;
  EXPECT_THAT(seen.err, HasSubstr("the test split has no sample of 1 of 4 classes: doe\n"));
  const auto few =
      run(train(1, "few", {"data.file=s.h5", "data.limit=3", "train.global_batch=3", "train.epochs=1"}), folder.path());
  EXPECT_THAT(few.err, HasSubstr("the training split has no sample of 1 of 4 classes: doe\n"));
}

TEST_F(Data, NamesThatCannotBeWrittenAreRefusedByTheirFlag) {
  const std::vector<std::pair<std::vector<std::string>, const char*>> cases = {
      {{"render", "argmax", "--out", ""}, "--out: empty"},
      {{"render", "argmax", "--out", "."}, "--out .: this is a folder"},
      {{"import", "mnist", "--from", ".", "--out", ""}, "--out: empty"},
      {{"info", "g.h5", "--sheet", ""}, "--sheet: empty"},
      {{"info", "g.h5", "--sheet", "."}, "--sheet .: this is a folder"}};
  for (const auto& [arguments, words] : cases) {
    std::vector<std::string> command{program(), "data"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    const auto outcome = run(command, folder.path());
    EXPECT_EQ(outcome.exit_code, 2) << words;
    EXPECT_THAT(outcome.err, HasSubstr(words));
  }
}

}  // namespace
}  // namespace spankey::test::data_test
