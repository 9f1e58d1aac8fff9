// Ranks are held to what they must share: at the start, every few steps, where a run is resumed, and at the end.
#include <gmock/gmock.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "small_run.h"

namespace spankey::test::audit_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class Audit : public SmallRun {
 protected:
  std::filesystem::path log_of(const std::string& run, int rank) const {
    return folder / (run + "/log/rank" + std::to_string(rank) + ".log");
  }

  // The steps at which the log of a rank tells of an audit.
  std::vector<int> audits(const std::string& run, int rank) const {
    const std::string words = " debug: audit passed at step ";
    std::ifstream file(log_of(run, rank));
    std::vector<int> at_steps;
    for (std::string line; std::getline(file, line);)
      if (const auto place = line.find(words); place != std::string::npos)
        at_steps.push_back(std::stoi(line.substr(place + words.size())));
    return at_steps;
  }

  // `end` ends one attempt in the middle, the next one goes on to the end of the run. No audit is due in between.
  void expect_audit_on_resume(const std::string& run, const std::function<void(Child&)>& end) const {
    const auto command = train(2, run, {"train.epochs=20", "eval.every_epochs=0", "dist.audit_every_steps=0"});
    Child child(command, folder.path());
    wait_for_step(child, run, 30);
    ASSERT_TRUE(child.running());
    end(child);
    EXPECT_NE(child.wait().exit_code, 0);
    const int step = newest_step(run);
    EXPECT_GE(step, 30);
    for (const int rank : {0, 1}) std::filesystem::remove(log_of(run, rank));  // the log is appended to
    expect_success(command);
    for (const int rank : {0, 1}) EXPECT_THAT(audits(run, rank), ElementsAre(step, 20 * steps / 8)) << "rank " << rank;
  }

  // Two ranks with one command line, each with a configuration file of its own; `more`: of the second, as TOML that
  // goes on in its table `dist`.
  std::vector<std::string> with_another_rank_1(const std::string& run, const std::string& more) const {
    const auto other = folder / "other";
    std::filesystem::create_directories(other);
    std::ofstream(other / "small.toml") << small_config << more << "\n";
    const auto rank = train(1, (folder / run).string(), {"train.epochs=1"});
    std::vector<std::string> command{"mpirun", "--oversubscribe", "--bind-to", "none"};
    for (const auto& place : {folder.path(), other}) {
      if (place == other) command.emplace_back(":");
      for (const auto& word : {std::string("-np"), std::string("1"), std::string("-wdir"), place.string()})
        command.push_back(word);
      command.insert(command.end(), rank.begin(), rank.end());
    }
    return command;
  }

  void expect_refused(const std::string& run, const std::string& change) const {
    const auto outcome = test::run(with_another_rank_1(run, change), folder.path());
    EXPECT_EQ(outcome.exit_code, 3) << change << "\n" << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("the ranks disagree on the configuration"), HasSubstr("rank 1 has")))
        << change;
    const std::string words = "the ranks disagree";
    EXPECT_EQ(outcome.err.find(words), outcome.err.rfind(words)) << change << ": one rank speaks for all";
    EXPECT_TRUE(metrics(run).empty()) << change;
    EXPECT_EQ(newest_step(run), 0) << change;
  }
};

TEST_F(Audit, AtTheStartEveryFewStepsAndAtTheEnd) {
  expect_success(train(2, "often", {"train.epochs=2", "dist.audit_every_steps=5"}));
  for (const int rank : {0, 1}) EXPECT_THAT(audits("often", rank), ElementsAre(0, 5, 10, 15, 16)) << "rank " << rank;
  // The control: without any in between.
  expect_success(train(2, "seldom", {"train.epochs=2", "dist.audit_every_steps=0"}));
  for (const int rank : {0, 1}) EXPECT_THAT(audits("seldom", rank), ElementsAre(0, 16)) << "rank " << rank;
}

TEST_F(Audit, WhereAStoppedRunIsResumed) {
  expect_audit_on_resume("stopped", [](Child& child) {
    for (const pid_t pid : ranks_of(child)) kill(pid, SIGUSR2);
  });
}

TEST_F(Audit, WhereAKilledRunIsResumed) {
  expect_audit_on_resume("killed", [](Child& child) { child.kill_tree(); });
}

// The buckets and the audits are not in the hash of the configuration; ranks that differ in them would still mix up
// their sums or wait for each other for ever.
TEST_F(Audit, ARankWithAnotherConfigurationEndsTheRunBeforeTheFirstStep) {
  expect_refused("seed", "[run]\nseed = 43");
  expect_refused("buckets", "bucket_bytes = 1024");
  expect_refused("audits", "audit_every_steps = 7");
  // The control: started in the same way, with a line that changes nothing.
  expect_success(with_another_rank_1("equal", "[run]\nseed = 42"));
  EXPECT_EQ(result("equal")["ranks"], 2);
}

}  // namespace
}  // namespace spankey::test::audit_test
