// diagnose, attack and predict with their network on a GPU, on the stand-in. All that a GPU would compute reads as
// zeros there, and zeros are what a network answers whose weights are zeros. With such a network every figure must be
// that of the CPU: what the host makes of the answers is the same work, and nothing is on the wrong device.
#include "gpu/standin/commands.h"

#include <gmock/gmock.h>

namespace spankey::standin_commands_test {
namespace {

class StandinCommands : public test::CommandsOnStandin {};

TEST_F(StandinCommands, DiagnoseGivesTheFiguresOfTheCpu) {
  const std::vector<std::string> diagnose{"--keys", "4", "--samples", "32", "--json"};
  const auto of_zeros = both("diagnose", "zeros", diagnose);
  EXPECT_EQ(of_zeros.on_standin, of_zeros.on_cpu);
  // Tables of 9 keys, gradients and path integrals of 32 samples. More would be a copy for each number.
  expect_sound(of_zeros.log, /*most_copies_to_host=*/1000);
  // The control: a trained network answers something else.
  const auto of_trained = both("diagnose", "trained", diagnose);
  EXPECT_NE(of_trained.on_standin, of_trained.on_cpu);
}

TEST_F(StandinCommands, PredictGivesTheAnswersOfTheCpu) {
  const std::vector<std::string> predict{"--images", "builtin:glyphs", "--json"};
  const auto of_zeros = both("predict", "zeros", predict);
  EXPECT_EQ(of_zeros.on_standin, of_zeros.on_cpu);
  EXPECT_GT(of_zeros.on_cpu.size(), 1000U);
  expect_sound(of_zeros.log, /*most_copies_to_host=*/8);  // the logits of 4 batches
  const auto of_trained = both("predict", "trained", predict);
  EXPECT_NE(of_trained.on_standin, of_trained.on_cpu);
}

TEST_F(StandinCommands, AttacksGiveTheRowsOfTheCpu) {
  const std::vector<std::string> attack{
      "--attacks", "R0,Z0,O1,O2a,O2b,K4,W5", "--images", "10", "--keys", "2", "--seeds", "1", "--preset", "quick",
      "--json"};
  const auto of_zeros = both("attack", "zeros", attack);
  EXPECT_EQ(rows_of(of_zeros.on_standin), rows_of(of_zeros.on_cpu));
  EXPECT_GT(rows_of(of_zeros.on_cpu).size(), 8U);
  expect_sound(of_zeros.log, /*most_copies_to_host=*/1000);
  const auto of_trained = both("attack", "trained", attack);
  EXPECT_NE(rows_of(of_trained.on_standin), rows_of(of_trained.on_cpu));
}

}  // namespace
}  // namespace spankey::standin_commands_test
