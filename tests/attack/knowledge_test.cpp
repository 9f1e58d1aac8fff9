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

// Every form of every attack that this run has anything for, with means that take no time.
std::vector<Unit> small_units(const AttackedRun& run) {
  std::vector<Unit> units;
  for (Unit unit : plan_attacks({.preset = Preset::exhaustive}, run).units) {
    auto& budget = unit.budget;
    if (budget.images > 0) budget.images = 10;
    if (budget.steps > 0) budget.steps = 5;
    if (budget.queries > 0) budget.queries = 200;
    if (budget.keys > 0) budget.keys = 2;
    if (budget.leaked > 0) budget.leaked = 2;
    const auto same = [&](const Unit& other) { return other.attack == unit.attack && other.budget == budget; };
    if (unit.seed == 0 && std::none_of(units.begin(), units.end(), same)) units.push_back(unit);
  }
  return units;
}

std::string name_of(const Unit& unit) {
  return fmt::format("{} {}", unit.attack->id, budget_text(unit.budget));
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
    for (const auto& unit : small_units(run))
      rows[name_of(unit)] = as_the_attacker_has_it(outcome_of(run, std::string(unit.attack->id), unit.budget));
    return rows;
  };
  auto zero_basis = test::basis_of(run.experiment);
  for (auto& layer : zero_basis.layers) layer.zero_();
  const auto zeros = with_basis(zero_basis), none = with_basis(std::nullopt),
             own = with_basis(test::basis_of(run.experiment));
  std::size_t same = 0;
  std::set<std::string> other;
  for (const auto& unit : small_units(run)) {
    const auto name = name_of(unit);
    if (needs_valid_key(*unit.attack)) {
      if (own.at(name) != zeros.at(name)) other.insert(std::string(unit.attack->id));
      continue;
    }
    EXPECT_EQ(own.at(name), zeros.at(name)) << name;
    EXPECT_EQ(own.at(name), none.at(name)) << name;
    ++same;
  }
  EXPECT_EQ(same, none.size());
  EXPECT_GE(same, 20U);
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
