// The column "knows" is true by construction: without the secret, rows that do not need it have the same bits.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "support/expect_error.h"
#include "toy_run.h"

namespace spankey::knowledge_test {
namespace {

using test::outcome_of;

// A budget of each form of the attack that takes no time.
std::vector<Budget> small(const Attack& attack) {
  std::vector<Budget> forms;
  for (Budget budget : attack.budgets(Preset::exhaustive)) {
    if (budget.images > 0) budget.images = 10;
    if (budget.steps > 0) budget.steps = 5;
    if (budget.queries > 0) budget.queries = 200;
    if (budget.keys > 0) budget.keys = 2;
    if (budget.leaked > 0) budget.leaked = 2;
    if (std::find(forms.begin(), forms.end(), budget) == forms.end()) forms.push_back(budget);
  }
  return forms;
}

std::string name_of(const Attack& attack, const Budget& budget) {
  return fmt::format("{} {}", attack.id, budget_text(budget));
}

// What the owner says of a key that was found is no part of the attack.
nlohmann::json as_the_attacker_has_it(nlohmann::json outcome) {
  outcome.at("detail").erase("owner");
  return outcome;
}

// Where the key also moves features, too: then a thief's key moves them as its own signs say.
class KnowledgeOfLocks : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Locks, KnowledgeOfLocks,
                         testing::Values("", "basis='cone'\nmultiplier='sign'\npermute=[1,2]\n"));

TEST_P(KnowledgeOfLocks, RowsWithoutTheSecretAreBitIdentical) {
  auto run = test::locked_run(std::string(test::small_mlp) + GetParam());
  const auto with_basis = [&](std::optional<Basis> basis) {
    std::map<std::string, nlohmann::json> rows;
    run.basis = std::move(basis);
    for (const Attack& attack : attacks())
      for (const auto& budget : small(attack))
        if (run.basis || !needs_valid_key(attack))
          rows[name_of(attack, budget)] = as_the_attacker_has_it(outcome_of(run, std::string(attack.id), budget));
    return rows;
  };
  const auto own = with_basis(test::basis_of(run.experiment));
  auto zero_basis = test::basis_of(run.experiment);
  for (auto& layer : zero_basis.layers) layer.zero_();
  const auto zeros = with_basis(zero_basis), none = with_basis(std::nullopt);
  int same = 0;
  std::set<std::string> other;
  for (const Attack& attack : attacks())
    for (const auto& budget : small(attack)) {
      const auto name = name_of(attack, budget);
      if (needs_valid_key(attack)) {
        if (own.at(name) != zeros.at(name)) other.insert(std::string(attack.id));
        continue;
      }
      EXPECT_EQ(own.at(name), zeros.at(name)) << name;
      EXPECT_EQ(own.at(name), none.at(name)) << name;
      ++same;
    }
  EXPECT_GE(same, 10);
  // Control: rows that take valid keys, or a service that has one, see the difference.
  for (const char* id : {"R0", "K3", "K4", "K9", "L1", "L2", "D2"}) EXPECT_TRUE(other.contains(id)) << id;
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
  EXPECT_ERROR(as("K8a").network(), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("K8a").service(at::zeros({1, 20})), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("D2").network(), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("D2").labelled(1), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("D2").query(at::zeros({1, 20}), Injection::none()), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("L2").labelled(1), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("L1").network(), ExitCode::run_failed, refused);
  EXPECT_ERROR(as("K4").test_images(1), ExitCode::run_failed, refused);
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
