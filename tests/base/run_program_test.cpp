#include "base/run_program.h"

#include <gmock/gmock.h>

#include <csignal>
#include <string>

#include "base/shutdown.h"
#include "support/expect_error.h"

namespace spankey::run_program_test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

ProgramOutcome shell(const std::string& text, milliseconds limit = seconds(20)) {
  return run_program({"sh", "-c", text}, limit);
}

TEST(RunProgram, KeepsOutputAndErrorApart) {
  const auto outcome = shell("echo out; echo first >&2; echo last >&2; exit 3");
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.out, "out\n");
  EXPECT_EQ(outcome.err, "first\nlast\n");
  EXPECT_EQ(outcome.complaint(), "last");
  EXPECT_FALSE(outcome.missing() || outcome.timed_out);
}

TEST(RunProgram, NoShellReadsTheWords) {
  EXPECT_EQ(run_program({"echo", "$HOME; exit 1"}, seconds(20)).out, "$HOME; exit 1\n");
}

TEST(RunProgram, AnAbsentProgramIsMissing) {
  EXPECT_TRUE(run_program({"no-such-program"}, seconds(20)).missing());
}

TEST(RunProgram, ASignalIs128AndItsNumber) {
  EXPECT_EQ(shell("kill -15 $$").exit_code, 143);
}

TEST(RunProgram, WhatIsNoProgramIsAnError) {
  EXPECT_ERROR(run_program({"/dev/null"}, seconds(20)), ExitCode::bad_input, HasSubstr("/dev/null cannot be started"));
}

// What this program ignores is nothing that another one may rely on: `yes | head` ends by SIGPIPE.
TEST(RunProgram, AProgramDiesOfABrokenPipeAgain) {
  shutdown::ignore_failed_writes();
  const auto outcome = shell("grep -E '^SigIgn' /proc/self/status");
  const auto ignored = std::stoull(outcome.out.substr(outcome.out.find(':') + 1), nullptr, 16);
  EXPECT_EQ(ignored & (1ULL << (SIGPIPE - 1)), 0U) << outcome.out;
  EXPECT_EQ(ignored & (1ULL << (SIGXFSZ - 1)), 0U) << outcome.out;
}

TEST(RunProgram, StandardInputIsEmpty) {
  const auto outcome = run_program({"cat"}, seconds(20));
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_FALSE(outcome.timed_out);
}

// More than pipes hold, on both: a reader of one after the other would wait for ever.
TEST(RunProgram, FullPipesDoNotBlock) {
  const auto outcome = shell("head -c 300000 /dev/zero >&2; head -c 400000 /dev/zero");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err.size(), 300'000U);
  EXPECT_EQ(outcome.out.size(), 400'000U);
}

TEST(RunProgram, IsKilledAtItsLimit) {
  for (const char* endless : {"echo begun; exec sleep 60", "echo begun; exec sleep 60 >&- 2>&-"}) {
    const auto started = std::chrono::steady_clock::now();
    const auto outcome = shell(endless, milliseconds(300));
    EXPECT_TRUE(outcome.timed_out) << endless;
    EXPECT_EQ(outcome.exit_code, 137) << endless;
    EXPECT_EQ(outcome.out, "begun\n") << endless;
    EXPECT_LT(std::chrono::steady_clock::now() - started, seconds(20)) << endless;
  }
}

}  // namespace
}  // namespace spankey::run_program_test
