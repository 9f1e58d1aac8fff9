// A file system that fails once, for ever or not at all for seconds, in the neighbourhood of a step.
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <map>

#include "base/file.h"
#include "faults/budget.h"
#include "faults/faulty_run.h"

namespace spankey::test::hiccups_test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using testing::HasSubstr;

struct Hiccup {
  const char* file;
  const char* calls;
  const char* action;
  int at;
  const char* said;
};

const std::vector<std::string> some{"train.epochs=12", "eval.every_epochs=0"};

TEST_F(FaultyRun, AnErrorBesideTheStepsEndsNothing) {
  expect_success(train(1, "undisturbed", some));
  const auto expected = tensors("undisturbed");
  const auto expected_metrics = metrics("undisturbed");
  // `at`: beyond the calls of the start, which an error may refuse.
  const Hiccup hiccups[] = {
      {"lease", "open", "eio", 3, ""},
      {"STOP", "stat", "eio", 2, ""},
      {"STOP", "stat", "eio-forever", 2, ""},
      {"metrics.jsonl", "write", "eio", 5, "kept and tried again"},
      {"metrics.jsonl", "write", "enospc", 5, "are missing"},
      {"metrics.jsonl", "write,open", "eio-forever", 5, "are missing"},
  };
  int survived = 0;
  for (const auto& [file, calls, action, at, said] : hiccups) {
    const auto run = std::string(file) + "-" + calls + "-" + action;
    const Fault fault{.prefix = (folder / (run + "/" + file)).string(), .action = action, .calls = calls, .at = at};
    const auto outcome = test::run(under_fault(train(1, run, some), fault), folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << run << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(said)) << run;
    EXPECT_EQ(tensors(run), expected) << run;
    if (said != std::string("are missing")) {
      EXPECT_EQ(metrics(run), expected_metrics) << run;
    }
    survived += outcome.exit_code == 0;
  }
  report("R21", "faults in calls beside the steps that ended nothing", survived, std::size(hiccups));
}

// The longest time without a new line of metrics, in the seconds in which one call does not return.
class Stalls : public FaultyRun {
 protected:
  const int stall_seconds = torture_seconds() > 0 ? 20 : 3;

  milliseconds longest_gap(const std::string& run, const Fault& fault, const std::vector<std::string>& more) {
    std::vector<std::string> words{"train.epochs=100000", "eval.every_epochs=0"};
    words.insert(words.end(), more.begin(), more.end());
    Child child(under_fault(train(1, run, words), fault), folder.path());
    wait_for_step(child, run, 1);
    const auto start = Clock::now();
    auto last = start;
    Clock::duration longest{};
    auto before = metrics_size(run);
    while (since_stall(fault) < std::chrono::seconds(stall_seconds + 1)) {
      if (Clock::now() - start > std::chrono::seconds(60)) {
        ADD_FAILURE() << "the call that should stall was never made";
        break;
      }
      std::this_thread::sleep_for(milliseconds(5));
      longest = std::max(longest, Clock::now() - last);
      const auto now = metrics_size(run);
      if (now != before) last = Clock::now();
      before = now;
    }
    child.signal(SIGUSR2);
    const auto outcome = child.wait(std::chrono::seconds(30));
    EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
    return std::chrono::duration_cast<milliseconds>(longest);
  }

 private:
  std::uintmax_t metrics_size(const std::string& run) const {
    std::error_code none;
    return std::filesystem::file_size(folder / (run + "/metrics.jsonl"), none);
  }

  // Since the call that stalls was begun; zero before.
  Clock::duration since_stall(const Fault& fault) {
    if (!begun_.contains(fault.log) && lines_of(std::filesystem::path(fault.log).filename().string()) >= fault.at)
      begun_[fault.log] = Clock::now();
    return begun_.contains(fault.log) ? Clock::now() - begun_[fault.log] : Clock::duration{};
  }

  std::map<std::string, Clock::time_point> begun_;
};

TEST_F(Stalls, OfAFileBesideTheStepsDelayNoStep) {
  const auto stall = [&](const std::string& run, const std::string& file, const std::string& calls, int at) {
    return Fault{.prefix = (folder / (run + "/" + file)).string(),
                 .action = "stall",
                 .calls = calls,
                 .at = at,
                 .log = (folder / (run + "-log")).string(),
                 .seconds = stall_seconds};
  };
  const milliseconds bound{1000 * stall_seconds * 2 / 3};
  int undelayed = 0;
  for (const auto& [file, calls] : {std::pair{"lease", "open"}, std::pair{"STOP", "stat"}}) {
    const auto gap = longest_gap(file, stall(file, file, calls, 4), {});
    EXPECT_LT(gap, bound) << file;
    undelayed += gap < bound;
  }
  report("R21", "stalls of the file system beside the steps that delayed none", undelayed, 2);

  // The mutant: a file in the way of the steps. A checkpoint that is not written by another thread is one.
  const bool caught = longest_gap("saves", stall("saves", "checkpoints", "fsync", 3),
                                  {"checkpoint.async=false", "checkpoint.every_steps=20"}) >= bound;
  EXPECT_TRUE(caught);
  report_mutants("R21", "a file system call within the steps", caught, 1);
}

}  // namespace
}  // namespace spankey::test::hiccups_test
