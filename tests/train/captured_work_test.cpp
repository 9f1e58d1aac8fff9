// When a step is run, recorded and replayed: the host's side of a captured step, without a device.
#include "train/captured_work.h"

#include <gtest/gtest.h>

#include <string>

namespace spankey::captured_work_test {
namespace {

// Records what it is asked for. Like a device it executes nothing while it captures.
class RecordingGraph : public DeviceGraph {
 public:
  explicit RecordingGraph(std::string& calls) : calls_(calls) {}
  void capture(const std::function<void()>& work) override {
    calls_ += 'c';
    work_ = work;
  }
  void replay() override {
    calls_ += 'r';
    work_();
  }
  void use(const std::function<void()>& work) override {
    calls_ += 'e';
    work();
  }

 private:
  std::string& calls_;
  std::function<void()> work_;
};

TEST(CapturedWork, IsEagerThreeTimesThenCapturedOnceThenReplayed) {
  std::string calls;
  CapturedWork work(std::make_unique<RecordingGraph>(calls));
  int steps = 0;
  for (int i = 1; i <= 6; ++i) {
    work.run({.batch = 32, .deny_weight = 0.1}, [&steps] { ++steps; });
    EXPECT_EQ(steps, i);  // each call is one step: capturing moves nothing
  }
  EXPECT_EQ(calls, "eeecrrr");
}

TEST(CapturedWork, OtherConstantsGiveTheGraphUp) {
  for (const CapturedWork::Constants& other :
       {CapturedWork::Constants{.batch = 32, .deny_weight = 0.2}, {.batch = 31, .deny_weight = 0.1}}) {
    std::string calls;
    CapturedWork work(std::make_unique<RecordingGraph>(calls));
    std::string done;
    const auto run = [&](CapturedWork::Constants constants, char name, int times) {
      for (int i = 0; i < times; ++i) work.run(constants, [&done, name] { done += name; });
    };
    run({.batch = 32, .deny_weight = 0.1}, 'a', 5);
    run(other, 'b', 5);
    run({.batch = 32, .deny_weight = 0.1}, 'a', 1);  // nothing is kept of a graph that was given up
    EXPECT_EQ(calls,
              "eeecrr"
              "eeecrr"
              "e");
    EXPECT_EQ(done, "aaaaabbbbba");  // a replay of the old graph would write a among the b
  }
}

TEST(CapturedWork, WorkBesideTheGraphLeavesIt) {
  std::string calls;
  CapturedWork work(std::make_unique<RecordingGraph>(calls));
  int beside = 0;
  for (int i = 0; i < 5; ++i) {
    work.run({.batch = 8}, [] {});
    if (i == 1 || i == 4) work.run_uncaptured([&] { ++beside; });
  }
  work.run({.batch = 8}, [] {});
  EXPECT_EQ(calls, "eeeecrrer");
  EXPECT_EQ(beside, 2);
}

TEST(CapturedWork, WithoutADeviceAReplayCallsTheFunctionAgain) {
  CapturedWork work(make_eager_graph());
  int steps = 0;
  for (int i = 0; i < 7; ++i) work.run({.batch = 1}, [&steps] { ++steps; });
  EXPECT_EQ(steps, 7);
}

}  // namespace
}  // namespace spankey::captured_work_test
