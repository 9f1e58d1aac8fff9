// Every attack with its network on a GPU, on the stand-in: none fails, and those that train nothing on the device give
// the rows of the CPU. Networks with BatchNorm, with signs as multipliers and with features that change places have
// attacks of their own.
#include <gmock/gmock.h>

#include "gpu/standin/commands.h"

namespace spankey::standin_every_attack_test {
namespace {

class StandinAttacks : public test::CommandsOnStandin {};

const std::vector<std::string> standard{"--preset", "standard", "--images", "10",    "--keys",
                                        "2",        "--seeds",  "1",        "--json"};

TEST_F(StandinAttacks, EveryAttackRuns) {
  const auto outcome = both("attack", "zeros", standard, /*seconds=*/500);
  const auto on_cpu = rows_of(outcome.on_cpu), on_standin = rows_of(outcome.on_standin);
  ASSERT_EQ(on_standin.size(), on_cpu.size());
  // Weights that are trained or drawn change on the CPU alone.
  const std::vector<std::string> trains{"S0", "D1", "D2", "W1", "W1ls", "W2", "W4f", "W5n", "C1"};
  std::size_t compared = 0;
  for (const auto& [row, figures] : on_cpu) {
    if (testing::Matches(testing::Contains(row.substr(0, row.find(' '))))(trains)) continue;
    EXPECT_EQ(on_standin.at(row), figures) << row;
    ++compared;
  }
  EXPECT_GT(compared, 60U);
  EXPECT_EQ(outcome.log.violations, 0);
}

// (overrides of the training, attacks)
class AttacksOfAnotherNetwork : public StandinAttacks,
                                public testing::WithParamInterface<std::pair<std::vector<std::string>, std::string>> {};

TEST_P(AttacksOfAnotherNetwork, Run) {
  const auto& [overrides, attacks] = GetParam();
  train(attacks, overrides);
  auto arguments = standard;
  arguments.insert(arguments.end(), {"--attacks", attacks});
  const auto outcome = on_standin("attack", attacks, arguments, /*seconds=*/300);
  EXPECT_GT(rows_of(outcome.on_standin).size(), 0U);
  EXPECT_EQ(outcome.log.violations, 0);
}

using Words = std::vector<std::string>;
INSTANTIATE_TEST_SUITE_P(
    Networks, AttacksOfAnotherNetwork,
    testing::Values(std::pair{Words{"model.name=small_resnet", "key.layers=[0, 1]"}, "W1ls,W2,W3,I1,S0"},
                    std::pair{Words{"key.inject=mul", "key.multiplier=sign", "key.layers=[2]"}, "K7,K10,C1"},
                    std::pair{Words{"key.inject=mul", "key.multiplier=sign", "key.layers=[2]", "key.permute=[2]",
                                    "key.basis=cone"},
                              "K10,K11,C1"}));

}  // namespace
}  // namespace spankey::standin_every_attack_test
