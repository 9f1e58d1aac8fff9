// Units on disk: the same figures on any number of ranks, resumed, stopped and repaired.
#include "attack/suite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "attack/unit_folder.h"
#include "base/file.h"
#include "base/shutdown.h"
#include "dist/backend.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/thread_communicator.h"
#include "toy_run.h"

namespace spankey::suite_test {
namespace {

const AttackOptions few{
    .preset = Preset::quick, .ids = {"R0", "O1", "O2a", "K5", "W2", "K4"}, .images = {4}, .seeds = 2};

AttackedRun fresh_run() {
  return test::untrained_run(test::small_mlp);
}

std::vector<nlohmann::json> without_time(std::vector<nlohmann::json> outcomes) {
  for (auto& outcome : outcomes) outcome.at("cost").erase("seconds");
  return outcomes;
}

// Every rank has a network of its own, as processes have.
SuiteOutcome run_on(int ranks, const AttackOptions& options, const std::filesystem::path& folder, bool again = false) {
  auto communicators = make_thread_communicators(ranks, 120);
  std::vector<SuiteOutcome> outcomes(static_cast<std::size_t>(ranks));
  std::vector<AttackedRun> runs;
  for (int rank = 0; rank < ranks; ++rank) runs.push_back(fresh_run());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < outcomes.size(); ++rank)
    threads.emplace_back([&, rank] {
      outcomes[rank] = run_suite(runs[rank], plan_attacks(options, runs[rank]), folder, *communicators[rank],
                                 {.again = again, .progress = nullptr});
    });
  for (auto& thread : threads) thread.join();
  for (const auto& one : outcomes) EXPECT_EQ(one.outcomes, outcomes[0].outcomes);
  return outcomes[0];
}

std::set<std::filesystem::path> unit_files(const std::filesystem::path& folder) {
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "units")) files.insert(entry.path());
  return files;
}

TEST(Suite, SameFiguresOnAnyNumberOfRanks) {
  const test::TemporaryFolder folder;
  const auto one = run_on(1, few, folder / "one"), two = run_on(2, few, folder / "two"),
             four = run_on(4, few, folder / "four");
  ASSERT_TRUE(one.complete && two.complete && four.complete);
  EXPECT_EQ(without_time(one.outcomes), without_time(two.outcomes));
  EXPECT_EQ(without_time(one.outcomes), without_time(four.outcomes));
  // Control: seeds are not all alike.
  std::set<double> losses;
  for (const auto& outcome : one.outcomes)
    if (outcome.at("unit").at("attack") == "K5") losses.insert(outcome.at("own_loss").get<double>());
  EXPECT_EQ(losses.size(), 2U);
}

TEST(Suite, GoesOnWithWhatIsMissing) {
  const test::TemporaryFolder folder;
  const auto whole = run_on(1, few, folder / "attack");
  const auto files = unit_files(folder / "attack");
  ASSERT_EQ(files.size(), whole.outcomes.size());
  const auto removed = *files.begin(), damaged = *std::next(files.begin()), kept = *std::next(files.begin(), 2);
  std::filesystem::remove(removed);
  std::ofstream(damaged) << "{\"access\": ";
  const auto before = std::filesystem::last_write_time(kept);
  const auto again = run_on(2, few, folder / "attack");
  EXPECT_EQ(without_time(again.outcomes), without_time(whole.outcomes));
  EXPECT_EQ(std::filesystem::last_write_time(kept), before);
  EXPECT_EQ(unit_files(folder / "attack"), files);
  run_on(1, few, folder / "attack", /*again=*/true);
  EXPECT_NE(std::filesystem::last_write_time(kept), before);
}

TEST(Suite, AUnitOfAnotherNameIsNotBelieved) {
  const test::TemporaryFolder folder;
  const auto whole = run_on(1, few, folder / "attack");
  const auto run = fresh_run();
  const auto plan = plan_attacks(few, run);
  auto other = fresh_run();
  other.weights_sha256 = std::string(64, '0');
  const UnitFolder units(folder / "attack", run), others(folder / "attack", other);
  std::filesystem::copy_file(units.path(plan.units[0]), units.path(plan.units[1]),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(units.read(plan.units[0]));
  EXPECT_FALSE(units.read(plan.units[1]));
  EXPECT_FALSE(others.read(plan.units[0]));  // other weights
}

TEST(Suite, StopsWithinAUnitAndKeepsWhatIsDone) {
  const test::TemporaryFolder folder;
  AttackOptions endless = few;
  endless.ids = {"O1", "K5"};
  auto communicator = make_communicator(Backend::self, 30);
  const auto run = fresh_run();
  auto plan = plan_attacks(endless, run);
  for (auto& unit : plan.units)
    if (unit.attack->id == "K5") unit.budget.steps = 100'000'000;
  std::thread signal([&] {
    while (!std::filesystem::exists(folder / "attack/units") || unit_files(folder / "attack").empty())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::ofstream(folder / "attack/STOP") << "";
  });
  // The unit without a search comes first here, so that one is done when the marker is set.
  for (auto& unit : plan.units) unit.work = unit.attack->id == "O1" ? 1e9 : 1.0;
  const auto outcome = run_suite(run, plan, folder / "attack", *communicator, {});
  signal.join();
  EXPECT_FALSE(outcome.complete);
  EXPECT_EQ(outcome.done, 1U);
  EXPECT_TRUE(outcome.outcomes.empty());
}

TEST(Suite, ASignalStopsAllRanks) {
  const test::TemporaryFolder folder;
  shutdown::request();
  const auto outcome = run_on(2, few, folder / "attack");
  shutdown::clear();
  EXPECT_FALSE(outcome.complete);
  EXPECT_TRUE(run_on(2, few, folder / "attack").complete);
}

TEST(Plan, SharesTheWorkEvenly) {
  std::vector<Unit> units;
  for (const double work : {5.0, 1.0, 4.0, 3.0, 3.0}) units.push_back({&find_attack("O1"), {}, 0, work});
  const auto rank_of = assign(units, 2);
  double load[2] = {0, 0};
  for (std::size_t i = 0; i < units.size(); ++i) load[rank_of[i]] += units[i].work;
  EXPECT_EQ(std::max(load[0], load[1]), 8.0);
  EXPECT_EQ(assign(units, 1), std::vector<int>(5, 0));
}

TEST(Plan, SaysWhatIsLeftOut) {
  auto run = fresh_run();
  const auto has_unit = [](const AttackPlan& plan, std::string_view id) {
    return std::any_of(plan.units.begin(), plan.units.end(), [&](const Unit& u) { return u.attack->id == id; });
  };
  const auto quick = plan_attacks({}, run);
  EXPECT_TRUE(has_unit(quick, "R0"));
  EXPECT_FALSE(has_unit(quick, "K6"));
  EXPECT_TRUE(has_unit(plan_attacks({.ids = {"k6"}}, run), "K6"));
  run.basis.reset();
  const auto stolen = plan_attacks({}, run);
  for (const char* id : {"R0", "K2", "K4"}) EXPECT_FALSE(has_unit(stolen, id)) << id;
  for (const Attack& attack : attacks()) {
    const bool told = std::any_of(stolen.not_run.begin(), stolen.not_run.end(), [&](const NotRun& one) {
      return one.id == attack.id && !one.why.starts_with("affine");
    });
    EXPECT_NE(has_unit(stolen, attack.id), told) << attack.id;
  }
}

TEST(Plan, OptionsReplaceNumbersOfThePreset) {
  const auto run = fresh_run();
  const auto budgets = [&](const AttackOptions& options) {
    std::vector<std::string> texts;
    for (const auto& unit : plan_attacks(options, run).units)
      if (unit.seed == 0) texts.push_back(budget_text(unit.budget));
    return texts;
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(budgets({.ids = {"K4"}, .leaked = {2, 7}}), (Texts{"2 leaked keys", "7 leaked keys"}));
  EXPECT_EQ(budgets({.ids = {"K1"}, .keys = 9}), (Texts{"256 images, 9 keys"}));
  EXPECT_EQ(budgets({.ids = {"R0", "K4"}, .keys = 9}), (Texts{"9 keys", "1 leaked key", "3 leaked keys"}));
  EXPECT_EQ(budgets({.ids = {"K9"}, .keys = 3})[0], "adaptive, 5760 queries, 3 keys");
  // Who walks away from a revoked key has that one, whatever is leaked elsewhere.
  EXPECT_EQ(budgets({.ids = {"L2"}, .leaked = {3}}), (Texts{"256 images, 1 leaked key, 100 steps"}));
  EXPECT_EQ(budgets({.ids = {"K8a"}, .images = {7}}), (Texts{"64 images, 10000 queries"}));
}

// Whoever plans a sweep has no run yet.
TEST(Plan, TheWorkIsKnownWithoutARun) {
  const auto run = fresh_run();
  for (const AttackOptions& options : {AttackOptions{.ids = {"R0", "K5", "W1", "S0", "K1"}},
                                       AttackOptions{.preset = Preset::exhaustive, .ids = {"W1ls", "D1"}, .seeds = 2},
                                       AttackOptions{.ids = {"K5"}, .images = {7}}}) {
    double planned = 0.0;
    for (const auto& unit : plan_attacks(options, run).units) planned += unit.work;
    EXPECT_GT(planned, 0.0);
    EXPECT_DOUBLE_EQ(expected_images(options, run.data.offered(), run.data.judged_size()), planned);
  }
}

TEST(Plan, RowsThatALockHasNothingForAreLeftOut) {
  const auto reasons = [](const std::string& config) {
    std::string all;
    const auto run = test::untrained_run(config);
    for (const auto& one : plan_attacks({.preset = Preset::exhaustive}, run).not_run)
      all += one.id + ": " + one.why + "\n";
    return all;
  };
  const auto soft = reasons(test::small_mlp);
  for (const char* why : {"K10: its keys are no signs", "K11: features keep their places",
                          "K5: augmented: the run was trained without augmentation", "W1: augmented: the run was",
                          "S0: augmented: the run was"})
    EXPECT_NE(soft.find(why), std::string::npos) << why;
  const auto routed =
      reasons("[data]\naugment='affine'\n[key]\nlayers=[0,1]\npermute=[2]\nbasis='cone'\nmultiplier='sign'\n");
  for (const char* id : {"K10", "K11", "augmented"}) EXPECT_EQ(routed.find(id), std::string::npos) << routed;
}

TEST(Plan, EachPresetHasWhatTheOneBeforeHas) {
  for (const Attack& attack : attacks()) {
    std::vector<Budget> before;
    for (const auto preset : {Preset::quick, Preset::standard, Preset::exhaustive}) {
      const auto now = attack.budgets(preset);
      for (Budget budget : before) {
        const auto kept = std::find_if(now.begin(), now.end(), [&](Budget other) {
          other.keys = budget.keys;  // of which there may be more
          other.queries = budget.queries;
          return other == budget;
        });
        EXPECT_NE(kept, now.end()) << attack.id << " " << budget_text(budget);
      }
      before = now;
    }
    EXPECT_FALSE(before.empty()) << attack.id;
  }
}

TEST(Plan, BadInputIsOneSentence) {
  const auto run = fresh_run();
  EXPECT_ERROR(plan_attacks({.ids = {"K5", "k5"}}, run), ExitCode::bad_input, "--attacks: K5 is named twice");
  EXPECT_ERROR(plan_attacks({.ids = {"W7"}}, run), ExitCode::bad_input, testing::HasSubstr("--attacks"));
  EXPECT_ERROR(plan_attacks({.images = {10, 60, 10}}, run), ExitCode::bad_input,
               "--images: 10 is named twice; accepted: different numbers");
  EXPECT_ERROR(plan_attacks({.leaked = {3, 3}}, run), ExitCode::bad_input,
               "--leaked: 3 is named twice; accepted: different numbers");
  EXPECT_ERROR(plan_attacks({.images = {100'000'000}}, run), ExitCode::bad_input,
               testing::HasSubstr("--images 100000000: the training split has"));
  EXPECT_ERROR(plan_attacks({.seeds = 1001}, run), ExitCode::bad_input, "--seeds 1001: accepted: 1 to 1000");
  EXPECT_ERROR(expected_images({.images = {11}}, 10, 10), ExitCode::bad_input,
               "--images 11: the training split has 10; accepted: 1 to 10");
}

}  // namespace
}  // namespace spankey::suite_test
