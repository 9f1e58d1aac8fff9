#include "sweep/sweep_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::sweep_file_test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class SweepFileTest : public testing::Test {
 protected:
  // The sweep with this text behind a [sweep] table of two lines.
  SweepFile load(const std::string& text) const {
    std::ofstream(folder_ / "grid.toml") << "[sweep]\nbase = \"base.toml\"\n" << text;
    return load_sweep_file(folder_ / "grid.toml");
  }
  std::vector<std::string> trials(const std::string& text) const {
    std::vector<std::string> result;
    for (const auto& trial : expand(load(text).grid)) result.push_back(settings_text(trial));
    return result;
  }
  void expect_refused(const std::string& text, const testing::Matcher<std::string>& sentence) const {
    EXPECT_ERROR(load(text), ExitCode::bad_input, sentence);
  }

  test::TemporaryFolder folder_;
};

TEST_F(SweepFileTest, NamesAndPlaces) {
  const auto file =
      load("store = \"somewhere\"\n[set]\n\"train.epochs\" = 3\n[budget]\nmax_trials = 7\nmax_hours = 2\n");
  EXPECT_EQ(file.name, "grid");
  EXPECT_EQ(file.base, folder_ / "base.toml");
  EXPECT_EQ(file.store, "somewhere");
  EXPECT_EQ(file.grid.fixed, (Settings{{"train.epochs", "3"}}));
  EXPECT_EQ(file.max_trials, 7);
  EXPECT_EQ(file.max_hours, 2.0);
  EXPECT_EQ(file.grid.places.at("train.epochs"), (folder_ / "grid.toml").string() + ":5");
  EXPECT_EQ(load("name = \"other\"\n").name, "other");
}

TEST_F(SweepFileTest, AnAttackFollowsTheTraining) {
  EXPECT_FALSE(load("").attack.has_value());
  EXPECT_EQ(load("[attack]\n").attack, SweepAttack());
  const auto file = load("[attack]\npreset = \"standard\"\nattacks = [\"O1\", \"K5\"]\nimages = [10, 60]\nseeds = 2\n");
  EXPECT_EQ(file.attack_place, (folder_ / "grid.toml").string() + ":3");
  EXPECT_THAT(options_of(*file.attack),
              ElementsAre("--preset", "standard", "--attacks", "O1,K5", "--images", "10,60", "--seeds", "2"));
  EXPECT_THAT(options_of({}), ElementsAre("--preset", "quick"));
  expect_refused("[attack]\npresets = \"quick\"\n",
                 AllOf(HasSubstr("grid.toml:4"), HasSubstr("did you mean 'preset'")));
  expect_refused("[attack]\npreset = 3\n", HasSubstr("preset = 3"));
  expect_refused("[attack]\nattacks = [5]\n", HasSubstr("list of ids"));
  expect_refused("[attack]\nimages = []\n", HasSubstr("list of integers"));
  expect_refused("[attack]\nimages = [0]\n", HasSubstr("integers >= 1"));
  expect_refused("[attack]\nseeds = 0\n", HasSubstr("integers >= 1"));
  expect_refused("attack = 3\n", HasSubstr("unknown key"));
}

TEST_F(SweepFileTest, OptionsOfSbatch) {
  EXPECT_TRUE(load("").sbatch.empty());
  const auto file = load(
      "[slurm]\naccount = \"lab\"\npartition = \"gpu\"\nqos = \"high\"\ntime = \"04:00:00\"\nnodes = 2\ngpus = 1\n"
      "memory = \"16G\"\nconstraint = \"a100|h100\"\nmail = \"me@there\"\n");
  EXPECT_THAT(file.sbatch, ElementsAre("--account=lab", "--partition=gpu", "--qos=high", "--time=04:00:00", "--nodes=2",
                                       "--gpus-per-task=1", "--mem=16G", "--constraint=a100|h100",
                                       "--mail-user=me@there", "--mail-type=END,FAIL"));
  expect_refused("[slurm]\npartitoin = \"gpu\"\n",
                 AllOf(HasSubstr("grid.toml:4"), HasSubstr("did you mean 'partition'")));
  expect_refused("[slurm]\ngpus = 0\n", AllOf(HasSubstr("gpus = 0"), HasSubstr("an integer >= 1")));
  expect_refused("[slurm]\ntime = 04:00:00\n", HasSubstr("a string, such as \"04:00:00\""));
  expect_refused("[slurm]\naccount = \"\"\n", HasSubstr("a string, such as \"project\""));
  expect_refused("slurm = 3\n", HasSubstr("unknown key"));
}

TEST_F(SweepFileTest, SeedsVarySlowestThenAxesInTheOrderOfTheFile) {
  EXPECT_THAT(trials("seeds = [1, 2]\n[axes]\n\"key.m\" = [4, 8]\n\"deny.mode\" = [\"A\"]\n"),
              ElementsAre("run.seed=1 key.m=4 deny.mode=\"A\"", "run.seed=1 key.m=8 deny.mode=\"A\"",
                          "run.seed=2 key.m=4 deny.mode=\"A\"", "run.seed=2 key.m=8 deny.mode=\"A\""));
}

TEST_F(SweepFileTest, KeysMayBeWrittenWithoutQuotesAndValuesMayBeLists) {
  EXPECT_THAT(trials("[axes]\nkey.layers = [[0], [0, 2]]\n"), ElementsAre("key.layers=[0]", "key.layers=[0, 2]"));
}

TEST_F(SweepFileTest, Ranges) {
  EXPECT_THAT(trials("[axes]\n\"key.gamma\" = {from = 0, to = 0.3, steps = 4}\n"),
              ElementsAre("key.gamma=0.0", "key.gamma=0.1", "key.gamma=0.2", "key.gamma=0.3"));
  EXPECT_THAT(trials("[axes]\n\"optim.lr\" = {from = 1e-4, to = 1e-2, steps = 3, scale = \"log\"}\n"),
              ElementsAre("optim.lr=0.0001", "optim.lr=0.001", "optim.lr=0.01"));
  EXPECT_THAT(trials("[axes]\n\"key.m\" = {from = 4, to = 32, steps = 4, scale = \"log\"}\n"),
              ElementsAre("key.m=4", "key.m=8", "key.m=16", "key.m=32"));
  EXPECT_THAT(trials("[axes]\n\"key.m\" = {from = 1, to = 2, steps = 5}\n"), ElementsAre("key.m=1", "key.m=2"));
  expect_refused("[axes]\n\"key.gamma\" = {from = 0, to = 1, steps = 2, scale = \"log\"}\n",
                 AllOf(HasSubstr("grid.toml:4"), HasSubstr("from and to > 0")));
  expect_refused("[axes]\n\"key.gamma\" = {from = 0, too = 1, steps = 2}\n",
                 AllOf(HasSubstr("too"), HasSubstr("'to'")));
}

TEST_F(SweepFileTest, LinkedAxesAndRowsAndExclusions) {
  EXPECT_THAT(trials("[[linked]]\n\"key.m\" = [4, 8]\n\"key.gamma\" = [0.5, 1.0]\n"),
              ElementsAre("key.m=4 key.gamma=0.5", "key.m=8 key.gamma=1.0"));
  EXPECT_THAT(trials("[[trials]]\n\"key.m\" = 4\n[[trials]]\n\"key.gamma\" = 2.0\n"),
              ElementsAre("key.m=4", "key.gamma=2.0"));
  EXPECT_THAT(trials("[axes]\n\"key.m\" = [4, 8]\n[[exclude]]\n\"key.m\" = 8\n"), ElementsAre("key.m=4"));
  expect_refused("[[linked]]\n\"key.m\" = [4, 8]\n\"key.gamma\" = [0.5]\n",
                 AllOf(HasSubstr("key.gamma"), HasSubstr("2 values")));
  expect_refused("[axes]\n\"key.m\" = [4]\n[[exclude]]\n\"key.n\" = 8\n",
                 AllOf(HasSubstr("grid.toml:6"), HasSubstr("'key.m'")));
  const std::string with_fixed =
      "[set]\n\"deny.mode\" = \"B\"\n[axes]\n\"key.m\" = [4, 8]\n[[exclude]]\n\"key.m\" = 8\n";
  EXPECT_THAT(trials(with_fixed + "\"deny.mode\" = \"B\"\n"), ElementsAre("key.m=4"));
  EXPECT_ERROR(trials(with_fixed + "\"deny.mode\" = \"b\"\n"), ExitCode::bad_input,
               AllOf(HasSubstr("grid.toml:7"), HasSubstr("key.m=8 deny.mode=\"b\"")));
}

TEST_F(SweepFileTest, RandomDrawsFollowTheLawAndTheSeed) {
  const std::string law =
      "[random]\ncount = 400\nseed = 3\n\"optim.lr\" = {low = 1e-4, high = 1e-2, law = \"log_uniform\"}\n";
  const auto draws = trials(law);
  EXPECT_EQ(draws, trials(law));
  EXPECT_NE(
      draws,
      trials("[random]\ncount = 400\nseed = 4\n\"optim.lr\" = {low = 1e-4, high = 1e-2, law = \"log_uniform\"}\n"));
  int below = 0;
  for (const auto& draw : draws) {
    const double lr = std::stod(draw.substr(draw.find('=') + 1));
    EXPECT_GE(lr, 1e-4);
    EXPECT_LE(lr, 1e-2);
    below += lr < 1e-3 ? 1 : 0;
  }
  EXPECT_NEAR(below, 200, 4 * std::sqrt(400 * 0.25));  // half of a log-uniform law lies below the geometric mean
  // Another key changes no draw of this one.
  const auto with_more = trials(law + "\"key.m\" = {low = 1, high = 3}\n");
  int ones = 0, threes = 0;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    EXPECT_THAT(with_more[i], HasSubstr(draws[i]));
    ones += with_more[i].find("key.m=1") != std::string::npos ? 1 : 0;
    threes += with_more[i].find("key.m=3") != std::string::npos ? 1 : 0;
  }
  EXPECT_NEAR(ones, 400.0 / 3, 4 * std::sqrt(400 * 2.0 / 9));
  EXPECT_NEAR(threes, 400.0 / 3, 4 * std::sqrt(400 * 2.0 / 9));
  expect_refused("[random]\n\"key.m\" = [1]\n", HasSubstr("random.count"));
  expect_refused("[random]\ncount = 2\n\"key.m\" = {low = 0, high = 3, law = \"log_uniform\"}\n", HasSubstr("low > 0"));
}

TEST_F(SweepFileTest, WordsAndNumbersOfAnotherTypeAreRefused) {
  for (const char* count : {"0", "1000001", "2.0", "\"2\"", "{a = 1}"})
    expect_refused(fmt::format("[random]\n\"key.m\" = [1]\ncount = {}\n", count),
                   AllOf(HasSubstr("grid.toml:5: random.count = "), HasSubstr("from 1 to 1000000")));
  for (const char* seed : {"1.5", "\"1\"", "true"})
    expect_refused(fmt::format("[random]\ncount = 2\n\"key.m\" = [1]\nseed = {}\n", seed),
                   AllOf(HasSubstr("grid.toml:6: random.seed = "), HasSubstr("accepted: an integer")));
  for (const char* law : {"3", "true", "[\"uniform\"]", "\"normal\""})
    expect_refused(fmt::format("[random]\ncount = 2\n\"key.gamma\" = {{low = 1, high = 2, law = {}}}\n", law),
                   AllOf(HasSubstr("grid.toml:5: key.gamma = "), HasSubstr("law = \"uniform\"")));
  expect_refused("[axes]\n\"key.gamma\" = {from = 1, to = 2, steps = 2, scale = 3}\n",
                 AllOf(HasSubstr("grid.toml:4: key.gamma = "), HasSubstr("scale = \"linear\"")));
}

TEST_F(SweepFileTest, MistakesAreNamedWithTheirLine) {
  expect_refused("[axis]\n\"key.m\" = [4]\n", AllOf(HasSubstr("grid.toml:3"), HasSubstr("'axes'")));
  expect_refused("seed = [4]\n", AllOf(HasSubstr("grid.toml:3"), HasSubstr("'seeds'")));
  expect_refused("[axes]\n\"key.m\" = []\n", AllOf(HasSubstr("grid.toml:4"), HasSubstr("at least one value")));
  expect_refused("[axes]\n\"key.m\" = 4\n", AllOf(HasSubstr("grid.toml:4"), HasSubstr("list")));
  expect_refused("[axes]\n\"key.m\" = [4]\n[[linked]]\n\"key.m\" = [8]\n",
                 AllOf(HasSubstr("grid.toml:6"), HasSubstr("grid.toml:4"), HasSubstr("one axis a key")));
  expect_refused("seeds = [1]\n[set]\n\"run.seed\" = 2\n", HasSubstr("one axis a key"));
  expect_refused("[axes]\n\"key.m\" = [4\n", HasSubstr("grid.toml:"));
  expect_refused("[budget]\nmax_trials = 0\n", HasSubstr("max_trials"));
  std::ofstream(folder_ / "no_base.toml") << "[sweep]\nname = \"x\"\n";
  EXPECT_ERROR(load_sweep_file(folder_ / "no_base.toml"), ExitCode::bad_input, HasSubstr("sweep.base"));
  EXPECT_ERROR(load_sweep_file(folder_ / "absent.toml"), ExitCode::bad_input, HasSubstr("absent.toml"));
}

}  // namespace
}  // namespace spankey::sweep_file_test
