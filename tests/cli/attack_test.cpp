// `spankey attack` as a user starts it: on a run, on a stolen copy of it, killed, stopped and started again.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/file.h"
#include "small_run.h"

namespace spankey::test::attack_test {
namespace {

using std::chrono::milliseconds;

const std::vector<std::string> few{"--attacks", "R0,O1,O2a,K4,K5,W2,S0", "--images", "5", "--seeds", "2"};
constexpr std::size_t few_units = 1 + 1 + 2 + 4 + 2 + 2 + 2;

class AttackRun : public SmallRun {
 protected:
  void SetUp() override {
    SmallRun::SetUp();
    expect_success(train(1, "run", {"train.epochs=1", "eval.keys=2"}));
  }

  Outcome attack(int ranks, const std::string& run_folder, std::vector<std::string> more = few) const {
    std::vector<std::string> arguments{"attack", run_folder};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(on_ranks(ranks, arguments), folder.path());
  }

  // attack.json without what time decides.
  nlohmann::json report(const std::string& run_folder) const {
    auto json = nlohmann::json::parse(read_text(folder / (run_folder + "/attack/attack.json")));
    for (auto& row : json.at("rows")) row.at("cost").erase("seconds");
    return json;
  }

  std::size_t units(const std::string& run_folder) const {
    std::error_code none;
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder / (run_folder + "/attack/units"), none))
      count += entry.path().extension() == ".json" ? 1 : 0;
    return count;
  }

  void copy_run(const std::string& to) const {
    std::filesystem::copy(folder / "run", folder / to, std::filesystem::copy_options::recursive);
    std::filesystem::remove_all(folder / (to + "/attack"));
  }
};

TEST_F(AttackRun, WorstFirstAndTheSameOnTwoRanks) {
  const auto outcome = attack(1, "run");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(outcome.out.starts_with("worst case: ")) << outcome.out;
  EXPECT_NE(outcome.out.find("access conditioning"), std::string::npos);
  EXPECT_NE(read_text(folder / "run/attack/attack.md").find("Worst case: "), std::string::npos);
  const auto one = report("run");
  EXPECT_EQ(one.at("weights_sha256"), result("run").at("weights_sha256"));
  EXPECT_EQ(one.at("reference").at("correct").at("accuracy").at("mean"),
            result("run").at("correct_key").at("accuracy").at("mean"));
  for (const auto& row : one.at("rows"))
    if (row.at("id") == "O1") {
      EXPECT_EQ(row.at("access").at("mean"), result("run").at("no_key").at("strip_accuracy"));
      EXPECT_EQ(row.at("accuracy").at("mean"), result("run").at("no_key").at("accuracy"));
    }
  EXPECT_EQ(units("run"), few_units);

  copy_run("two");
  const auto on_two = attack(2, "two");
  ASSERT_EQ(on_two.exit_code, 0) << on_two.err;
  EXPECT_EQ(report("two"), one);
}

TEST_F(AttackRun, AThiefHasNoSecret) {
  ASSERT_EQ(attack(1, "run").exit_code, 0);
  copy_run("stolen");
  std::filesystem::remove_all(folder / "stolen/secret");
  const auto outcome = attack(1, "stolen");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto own = report("run"), stolen = report("stolen");
  std::vector<nlohmann::json> expected;
  for (auto row : own.at("rows")) {
    if (row.at("needs_valid_key").get<bool>()) continue;
    row.at("detail").erase("owner");  // what the owner sees in a key that was found
    expected.push_back(row);
  }
  EXPECT_EQ(stolen.at("rows").get<std::vector<nlohmann::json>>(), expected);
  EXPECT_EQ(stolen.at("worst_case"), own.at("worst_case"));
  EXPECT_NE(outcome.out.find(" (no basis"), std::string::npos) << outcome.out;
  // Everything else still wants the basis.
  const auto eval = run({program(), "eval", "stolen"}, folder.path());
  EXPECT_EQ(eval.exit_code, 2);
  EXPECT_NE(eval.err.find("basis.h5"), std::string::npos) << eval.err;
}

// The figures of what needs no basis are those that the owner gets.
TEST_F(AttackRun, AThiefEvaluatesWithoutTheSecret) {
  const auto eval = [&](const std::string& directory, std::vector<std::string> more) {
    std::vector<std::string> arguments{program(), "eval", directory, "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto outcome = run(arguments, folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out, nullptr, false);
  };
  copy_run("stolen");
  std::filesystem::remove_all(folder / "stolen/secret");
  const auto own = eval("run", {"--families", "all"});
  const auto stolen = eval("stolen", {"--no-secret", "--families", "all"});
  EXPECT_TRUE(stolen.at("correct_key").is_null());
  EXPECT_FALSE(stolen.contains("verdict"));
  EXPECT_EQ(stolen.at("no_key"), own.at("no_key"));
  EXPECT_EQ(stolen.at("families").size(), 5U) << stolen.at("families");
  for (const auto& [family, figures] : stolen.at("families").items())
    EXPECT_EQ(figures, own.at("families").at(family)) << family;
  const auto table = run({program(), "eval", "stolen", "--no-secret"}, folder.path());
  EXPECT_NE(table.out.find("worst case: "), std::string::npos) << table.out;
  EXPECT_EQ(table.out.find("correct key  "), std::string::npos) << table.out;
  expect_refused({"eval", "stolen", "--no-secret", "--families", "near_miss"}, "made from the secret basis");
}

// eval, inspect and a finished train say what the attacks have found, as long as they are of these weights.
TEST_F(AttackRun, TheWorstAttackIsTheWorstCaseEverywhere) {
  const std::string wanted = "attacks.worst_case.access <= 1 and attacks.most_labels >= 5";
  expect_refused({"eval", "run", "--require", wanted},
                 "attacks.worst_case.access: no attack on these weights has been measured; accepted after: spankey "
                 "attack run");
  ASSERT_EQ(attack(1, "run").exit_code, 0);
  expect_success(on_ranks(2, {"eval", "run", "--require", wanted}));
  const auto missed = run({program(), "eval", "run", "--require", "attacks.worst_case.access < 0"}, folder.path());
  EXPECT_EQ(missed.exit_code, 3) << missed.err;
  expect_refused({"eval", "run", "--require", "attacks.free_key_100 < 1"}, "attack.json has no such figure");
  const auto says = [&](const std::vector<std::string>& arguments) {
    const auto outcome = run(on_ranks(1, arguments), folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  const auto worst = report("run").at("worst_case");
  std::string line;
  for (const auto& text : {says({"eval", "run"}), says({"inspect", "run"}),
                           says({"train", "small.toml", "--run-dir", "run", "train.epochs=1", "eval.keys=2"})}) {
    const auto at = text.find("worst case: ");
    ASSERT_NE(at, std::string::npos) << text;
    const auto found = text.substr(at, text.find('\n', at) - at);
    if (line.empty()) line = found;
    EXPECT_EQ(found, line);
  }
  const auto verdict = nlohmann::json::parse(says({"eval", "run", "--json"})).at("verdict");
  EXPECT_GE(verdict.at("worst").at("accuracy").get<double>(), worst.at("access").get<double>());
  says({"report", "run", "--out", "page"});
  EXPECT_NE(read_text(folder / "page/report.md").find("## Attacks"), std::string::npos);
  EXPECT_NE(read_text(folder / "page/index.html").find("Price of entry"), std::string::npos);
}

TEST_F(AttackRun, TwinsTellTheUtilityCost) {
  expect_success(train(1, "twins/vanilla", {"train.epochs=1", "eval.keys=2", "train.twin=vanilla"}));
  const auto outcome = attack(1, "run", {"--attacks", "R0,O1", "--twins", "twins"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("utility cost: "), std::string::npos) << outcome.out;
  const auto json = report("run");
  EXPECT_EQ(json.at("reference").at("vanilla").at("accuracy").at("mean"),
            result("twins/vanilla").at("no_key").at("accuracy"));
  EXPECT_NEAR(json.at("utility_cost").get<double>(),
              result("twins/vanilla").at("no_key").at("accuracy").get<double>() -
                  result("run").at("correct_key").at("accuracy").at("mean").get<double>(),
              1e-12);
  const auto other = attack(1, "run", {"--attacks", "O1", "--twins", "run"});
  EXPECT_NE(other.err.find("vanilla twin"), std::string::npos) << other.err;
}

TEST_F(AttackRun, GoesOnAfterItWasKilled) {
  copy_run("killed");
  ASSERT_EQ(attack(1, "run").exit_code, 0);
  std::vector<std::string> arguments{"attack", "killed"};
  arguments.insert(arguments.end(), few.begin(), few.end());
  int kills = 0;
  for (std::size_t wanted = 1; wanted <= 7; wanted += 3) {
    Child child(on_ranks(2, arguments), folder.path());
    while (child.running() && units("killed") < wanted) std::this_thread::sleep_for(milliseconds(1));
    if (!child.running()) break;
    child.kill_tree();
    child.wait();
    ++kills;
  }
  EXPECT_GE(kills, 1);
  EXPECT_FALSE(std::filesystem::exists(folder / "killed/attack/attack.json"));
  ASSERT_EQ(attack(2, "killed").exit_code, 0);
  EXPECT_EQ(report("killed"), report("run"));
}

TEST_F(AttackRun, ASignalStopsItWithinAUnit) {
  // Two hundred attack seeds are minutes of work.
  const std::vector<std::string> command{program(),  "attack", "run",     "--attacks", "S0",
                                         "--images", "60",     "--seeds", "200"};
  Child child(command, folder.path());
  while (child.running() && units("run") < 1) std::this_thread::sleep_for(milliseconds(1));
  ASSERT_TRUE(child.running());
  child.signal(SIGUSR2);
  const auto outcome = child.wait();
  EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
  EXPECT_NE(outcome.err.find("of 200 units are done"), std::string::npos) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "run/attack/attack.json"));
}

TEST_F(AttackRun, BadInputIsOneSentence) {
  std::filesystem::create_directory(folder / "empty");
  std::filesystem::copy_file(folder / "run/config.toml", folder / "empty/config.toml");
  expect_success(train(1, "vanilla", {"train.epochs=1", "train.twin=vanilla"}));
  for (const auto& [arguments, sentence] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"attack"}, "RUN is missing"},
           {{"attack", "nowhere"}, "nowhere"},
           {{"attack", "empty"}, "no valid checkpoint"},
           {{"attack", "run", "--attacks", "K55"}, "did you mean 'K5'"},
           {{"attack", "run", "--attacks", "K5,K5"}, "named twice"},
           {{"attack", "run", "--images", "0"}, "--images"},
           {{"attack", "run", "--images", "100000"}, "the training split has 4096"},
           {{"attack", "run", "--preset", "brutal"}, "--preset"},
           {{"attack", "run", "--images", "10,10"}, "named twice"},
           {{"attack", "run", "--leaked", "0"}, "--leaked"},
           {{"attack", "run", "--leaked", "many"}, "--leaked"},
           {{"attack", "run", "--leaked", "3,3"}, "named twice"},
           {{"attack", "run", "--keys", "0"}, "--keys"},
           {{"attack", "run", "--keys", "1.5"}, "--keys"},
           {{"attack", "run", "--data", "mine"}, "--data"},
           {{"attack", "run", "--data", "heldout", "--images", "513"}, "half of the test split has 512"},
           {{"attack", "vanilla"}, "train.twin"}}) {
    expect_refused(arguments, sentence);
  }
  // Weights of another run than the result's are told of.
  copy_run("mixed");
  auto changed = result("run");
  changed["weights_sha256"] = std::string(64, '0');
  std::ofstream(folder / "mixed/result.json") << changed;
  const auto outcome = attack(1, "mixed", {"--attacks", "R0,O1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("other weights"), std::string::npos) << outcome.err;
}

TEST_F(AttackRun, HeldOutImagesAreSaidToBe) {
  const auto outcome = attack(1, "run", {"--attacks", "R0,O1,W1", "--images", "5", "--data", "heldout"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto found = report("run");
  EXPECT_EQ(found.at("data"), "heldout");
  EXPECT_EQ(found.at("test_samples"), 512);
  for (const auto& row : found.at("rows")) {
    EXPECT_EQ(row.at("data"), "heldout");
    // The result of the run is over all test images: a valid key is measured again.
    if (row.at("id") == "R0") {
      EXPECT_EQ(row.at("access").at("mean"), found.at("reference").at("correct").at("accuracy").at("mean"));
    }
  }
}

TEST_F(AttackRun, OneAttackAFolder) {
  const std::vector<std::string> command{program(),  "attack", "run",     "--attacks", "S0",
                                         "--images", "60",     "--seeds", "200"};
  Child child(command, folder.path());
  while (child.running() && units("run") < 1) std::this_thread::sleep_for(milliseconds(1));
  ASSERT_TRUE(child.running());
  expect_refused({"attack", "run", "--attacks", "O1"}, "in use by another attack");
  EXPECT_EQ(attack(1, "run", {"--attacks", "O1", "--out", "elsewhere"}).exit_code, 0);
  EXPECT_TRUE(child.running());
  child.signal(SIGUSR2);
  EXPECT_EQ(child.wait().exit_code, 75);
  EXPECT_EQ(attack(1, "run", {"--attacks", "O1"}).exit_code, 0);
}

// Keys of a strength that overflows: the search for one fails, and what needs no key is told all the same.
TEST_F(AttackRun, ASearchWithoutANumberEndsItsUnitAlone) {
  const auto outcome =
      attack(1, "run", {"key.inject=add", "key.gamma=1e39", "--attacks", "O1,K5,W2", "--images", "5", "--seeds", "1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto page = read_text(folder / "run/attack/attack.md");
  EXPECT_NE(page.find("Ended without an outcome: K5"), std::string::npos) << page;
  for (const auto& row : report("run").at("rows")) EXPECT_EQ(row.at("access").is_null(), row.at("id") == "K5");
}

TEST(Attack, ListsWhatEachAttackKnows) {
  const TemporaryFolder folder;
  const auto outcome = run({program(), "attack", "--list"}, folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("free key"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("weights, architecture, labels"), std::string::npos) << outcome.out;
}

}  // namespace
}  // namespace spankey::test::attack_test
