// Faults at the calls of the real program that change a file.
#include <gmock/gmock.h>

#include <csignal>
#include <random>

#include "faults/budget.h"
#include "faults/faulty_run.h"

namespace spankey::test::calls_test {
namespace {

TEST_F(FaultyRun, AFaultAtAnyCallLosesNothing) {
  const std::vector<std::string> few{"train.epochs=2"};
  expect_success(
      under_fault(train(1, "undisturbed", few),
                  {.prefix = absolute("undisturbed"), .action = {}, .calls = {}, .log = absolute("") + "log"}));
  const auto expected = tensors("undisturbed");
  const int points = lines_of("log");
  const char* actions[] = {"kill", "torn", "enospc", "eio", "eio-forever"};
  const std::int64_t whole = std::int64_t{points} * 5;
  std::int64_t injected = 0, kills = 0, lost = 0, hung = 0, crashed = 0;
  std::mt19937 random(5);
  for (const Budget budget(5, whole, Part::real_faults); budget.more(injected); ++injected) {
    const auto run = "fault" + std::to_string(injected);
    const auto* action = actions[injected % 5];
    // Under tools/torture every call in turn, otherwise some.
    const auto call =
        torture_seconds() > 0 ? injected / 5 : static_cast<std::int64_t>(random() % static_cast<unsigned>(points));
    const int at = 1 + static_cast<int>(call);
    const auto outcome = test::run(
        under_fault(train(1, run, few), {.prefix = absolute(run), .action = action, .calls = {}, .at = at, .log = {}}),
        folder.path(), std::chrono::seconds(60));
    const auto after = test::run(train(1, run, few), folder.path(), std::chrono::seconds(60));
    kills += outcome.exit_code == 128 + SIGKILL;
    hung += outcome.timed_out || after.timed_out;
    crashed += outcome.exit_code > 128 && outcome.exit_code != 128 + SIGKILL && !outcome.timed_out;
    const bool same = after.exit_code == 0 && tensors(run) == expected;
    lost += !same;
    EXPECT_TRUE(same) << action << " at " << at << ": " << outcome.err << after.out << after.err;
    if (outcome.exit_code != 128 + SIGKILL) {
      EXPECT_THAT(outcome.exit_code, testing::AnyOf(0, 2, 3)) << action << " at " << at << ": " << outcome.err;
    }
    std::filesystem::remove_all(folder / run);
  }
  std::printf("faults in the real program: %lld of %lld lost, %lld kills, %d points\n", static_cast<long long>(lost),
              static_cast<long long>(injected), static_cast<long long>(kills), points);
  report("R4", "faults in calls of the real program", injected, whole);
  report("R4", "runs lost, hung or crashed by them", lost + hung + crashed);
  EXPECT_GT(points, 50);
  EXPECT_GT(kills, 0);
  EXPECT_EQ(lost + hung + crashed, 0);
}

}  // namespace
}  // namespace spankey::test::calls_test
