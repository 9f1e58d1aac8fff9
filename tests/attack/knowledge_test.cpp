// The column "knows" is true by construction: without the secret, rows that do not need it have the same bits.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "toy_run.h"

namespace spankey::knowledge_test {
namespace {

using test::outcome_of;

// A budget of each attack that takes no time.
Budget small(const Attack& attack) {
  auto budgets = attack.budgets(Preset::standard);
  Budget budget = budgets.at(0);
  if (budget.images > 0) budget.images = 10;
  if (budget.steps > 0) budget.steps = 5;
  if (budget.keys > 0) budget.keys = 2;
  if (budget.leaked > 0) budget.leaked = 2;
  return budget;
}

TEST(Knowledge, RowsWithoutTheSecretAreBitIdentical) {
  auto run = test::locked_run(test::small_mlp);
  const auto with_basis = [&](std::optional<Basis> basis) {
    std::map<std::string, nlohmann::json> rows;
    run.basis = std::move(basis);
    for (const Attack& attack : attacks())
      if (run.basis || !needs_valid_key(attack))
        rows[std::string(attack.id)] = outcome_of(run, std::string(attack.id), small(attack));
    return rows;
  };
  const auto own = with_basis(test::basis_of(run.experiment));
  auto zero_basis = test::basis_of(run.experiment);
  for (auto& layer : zero_basis.layers) layer.zero_();
  const auto zeros = with_basis(zero_basis), none = with_basis(std::nullopt);
  int same = 0, other = 0;
  for (const Attack& attack : attacks()) {
    const std::string id(attack.id);
    if (needs_valid_key(attack)) {
      other += own.at(id) != zeros.at(id) ? 1 : 0;
      continue;
    }
    EXPECT_EQ(own.at(id), zeros.at(id)) << id;
    EXPECT_EQ(own.at(id), none.at(id)) << id;
    ++same;
  }
  EXPECT_GE(same, 10);
  EXPECT_GE(other, 1);  // control: a row that takes valid keys sees the difference
}

TEST(Knowledge, WhoAsksForMoreIsRefused) {
  const auto run = test::untrained_run(test::small_mlp);
  const auto as = [&](const char* id) { return AttackContext(run, find_attack(id), 0); };
  const auto refused = testing::HasSubstr("asked for what it does not know");
  EXPECT_ERROR(as("K5").basis(), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("K5").leaked(1), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("K5").owners_keys(), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("K1").network(), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("K6").labelled(1), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("O1").labelled(1), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("S0").network(), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("S0").query(at::zeros({1, 20}), Injection::none()), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("W1").key_entry(), ExitCode::run_failed, refused);
  EXPECT_FALSE(as("K6").unlabelled(3).labels.defined());
}

TEST(Knowledge, CostsAreWhatWasHandedOut) {
  const auto run = test::untrained_run(test::small_mlp);
  const auto free_key = outcome_of(run, "K5", {.images = 10, .steps = 5, .keys = 0, .variant = ""}).at("cost");
  EXPECT_EQ(free_key.at("labels"), 10);
  EXPECT_EQ(free_key.at("backward"), 50);
  EXPECT_EQ(free_key.at("queries"), 0);
  EXPECT_EQ(free_key.at("trained_parameters"), run.experiment.key_dims[0] + run.experiment.key_dims[1]);
  const auto random = outcome_of(run, "K1", {.images = 20, .steps = 0, .keys = 3, .variant = ""}).at("cost");
  EXPECT_EQ(random.at("queries"), 60);
  EXPECT_EQ(random.at("labels"), 20);
  EXPECT_EQ(outcome_of(run, "K4", {.leaked = 3}).at("cost").at("leaked"), 3);
}

TEST(Knowledge, IdsAndNumbersAreUsedOnce) {
  std::set<std::string> ids;
  std::set<std::uint32_t> numbers;
  for (const Attack& attack : attacks()) {
    ids.insert(std::string(attack.id));
    numbers.insert(attack.number);
    EXPECT_GT(attack.number, 0U);  // 0 is the selection's
  }
  EXPECT_EQ(ids.size(), attacks().size());
  EXPECT_EQ(numbers.size(), attacks().size());
  EXPECT_ERROR(find_attack("K55"), ExitCode::bad_input, testing::HasSubstr("did you mean"));
  EXPECT_EQ(find_attack("k5").id, "K5");
}

}  // namespace
}  // namespace spankey::knowledge_test
