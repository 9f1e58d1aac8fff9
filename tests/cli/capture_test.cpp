// train.capture: resident steps give the bits of the plain ones, through the real program, killed or not.
#include <gmock/gmock.h>

#include <csignal>
#include <thread>

#include "small_run.h"

namespace spankey::test::capture_test {
namespace {

using testing::HasSubstr;

class Capture : public SmallRun {
 protected:
  // Without the configuration in it, which says whether steps were captured.
  nlohmann::json numbers(const std::string& run) const {
    auto all = tensors(run);
    EXPECT_EQ(all.at(0)["name"], "config");
    all.erase(0);
    return all;
  }
};

TEST_F(Capture, ChangesNoBitOfARun) {
  expect_success(train(1, "off", {"train.drop_last=false", "data.limit=1000", "train.capture=off"}));
  expect_success(train(1, "on", {"train.drop_last=false", "data.limit=1000", "train.capture=on"}));
  EXPECT_EQ(result("on")["weights_sha256"], result("off")["weights_sha256"]);
  EXPECT_EQ(numbers("on"), numbers("off"));
  EXPECT_EQ(metrics("on"), metrics("off"));
  EXPECT_EQ(result("on")["device"], "cpu");
  // Negative control: another seed is another run.
  expect_success(train(1, "other", {"train.drop_last=false", "data.limit=1000", "train.capture=on", "run.seed=43"}));
  EXPECT_NE(result("other")["weights_sha256"], result("off")["weights_sha256"]);
}

// The two kinds of steps may even take turns: a run is killed, and goes on with the other one.
TEST_F(Capture, AKilledRunGoesOnWithTheSameBits) {
  expect_success(train(2, "undisturbed", {"train.capture=off"}));
  EXPECT_GT(kill_thrice("killed",
                        [&](int attempt) {
                          return train(2, "killed", {attempt % 2 == 0 ? "train.capture=on" : "train.capture=off"});
                        }),
            0);
  expect_success(train(2, "killed", {"train.capture=on"}));
  EXPECT_EQ(result("killed")["weights_sha256"], result("undisturbed")["weights_sha256"]);
  EXPECT_EQ(numbers("killed"), numbers("undisturbed"));
}

TEST_F(Capture, AStopIsHeededWhereFiguresAreRead) {
  Child child(train(1, "stopped", {"train.capture=on", "train.epochs=2000"}), folder.path());
  while (child.running() && !std::filesystem::exists(folder / "stopped/checkpoints/step_00000003.h5"))
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  child.signal(SIGUSR2);
  EXPECT_EQ(child.wait().exit_code, 75);
}

TEST_F(Capture, WhatCannotBeCapturedIsRefusedWhereItIsAskedFor) {
  const std::vector<std::string> overrides{"model.name=small_resnet", "key.layers=[0]", "model.sync_batchnorm=true"};
  auto on = overrides;
  on.push_back("train.capture=on");
  const auto outcome = run(train(2, "refused", on), folder.path());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("train.capture = \"on\": model.sync_batchnorm = true"));
}

TEST_F(Capture, ALossThatIsNotFiniteIsNeverSaved) {
  const auto outcome = run(train(1, "spoilt", {"train.capture=on", "optim.name=sgd", "optim.lr=1e30"}), folder.path());
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("loss or gradient is not finite"));
  const auto plain = run(train(1, "plain", {"train.capture=off", "optim.name=sgd", "optim.lr=1e30"}), folder.path());
  const auto sentence = [](const std::string& text) {
    const auto begin = text.find("epoch ", text.find("error"));
    return text.substr(begin, text.find(": loss", begin) - begin);
  };
  EXPECT_EQ(sentence(outcome.err), sentence(plain.err));  // the same step is named
  EXPECT_FALSE(std::filesystem::exists(folder / "spoilt/result.json"));
  EXPECT_EQ(run({program(), "eval", "spoilt"}, folder.path()).exit_code,
            run({program(), "eval", "plain"}, folder.path()).exit_code);
}

}  // namespace
}  // namespace spankey::test::capture_test
