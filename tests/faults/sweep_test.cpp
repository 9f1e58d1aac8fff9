// A sweep in one MPI job of which one group cannot write its ledger: no other group notices, or the job ends with the
// true reason and the right rank.
#include <gmock/gmock.h>

#include <chrono>
#include <string>
#include <vector>

#include "faulty_run.h"

namespace spankey::test::sweep_faults_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class SweepFaults : public FaultyRun {
 protected:
  // Two groups of one rank; whatever the second one writes fails.
  Outcome sweep_with_a_broken_group(const std::string& seeds, const std::string& epochs,
                                    const std::string& pause) const {
    std::ofstream(folder / "sweep.toml") << "[sweep]\nbase = \"small.toml\"\nseeds = " << seeds
                                         << "\n[set]\n\"train.epochs\" = " << epochs << "\n";
    std::filesystem::create_directories(folder / "d" / "trials");
    auto command =
        under_fault(on_ranks(2, {"sweep", "run", "sweep.toml", "--dir", "d"}),
                    {.prefix = absolute("d/trials"), .action = "eio-forever", .calls = "write", .at = 1, .log = {}});
    for (auto& word : command)
      if (word == "SPANKEY_FAULT_RANK=0") word = "SPANKEY_FAULT_RANK=1";
    command.insert(command.begin(), {"/usr/bin/env", "SPANKEY_PAUSE_SECONDS=" + pause});
    return test::run(command, folder.path());
  }
};

TEST_F(SweepFaults, AGroupThatCannotWriteLeavesTheTrialsToTheOthers) {
  const auto outcome = sweep_with_a_broken_group("[1, 2, 3]", "1", "1");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("3 of 3 trials done, 0 failed"));
  EXPECT_THAT(outcome.out + outcome.err, HasSubstr("Input/output error; no trial is started for 1 s"));
}

TEST_F(SweepFaults, AGroupThatCannotWriteForLongEndsTheJobWithTheReason) {
  const auto begin = std::chrono::steady_clock::now();
  const auto outcome = sweep_with_a_broken_group("[1, 2]", "100000", "0.05");
  EXPECT_EQ(outcome.exit_code, 3) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out + outcome.err,
              AllOf(HasSubstr("rank 1: "), HasSubstr("Input/output error"), HasSubstr("this worker gives up")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

}  // namespace
}  // namespace spankey::test::sweep_faults_test
