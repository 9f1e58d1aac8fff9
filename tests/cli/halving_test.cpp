// Sweeps with halving through the real program, pauses, and what else steers many runs: overrides, `train -m`, a base
// of configurations, and an optimiser from outside.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "small_run.h"

namespace spankey::test::halving_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr const char* settings = R"([set]
"train.epochs" = 4
"eval.every_epochs" = 0
"dist.reduction" = "elastic"
"dist.shards" = 2
)";

class Halving : public SmallRun {
 protected:
  void SetUp() override {
    SmallRun::SetUp();
    write("sweep.toml", std::string("[sweep]\nbase = \"small.toml\"\n") + settings +
                            "[axes]\n\"optim.lr\" = [1e-5, 3e-3, 1e-4]\n[halving]\nmetric = "
                            "\"correct_key.accuracy\"\nrungs = [1, 2]\n");
  }

  Outcome spankey(std::vector<std::string> words) const {
    words.insert(words.begin(), program());
    return run(words, folder.path());
  }

  std::vector<std::filesystem::path> trials(const std::string& directory) const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder / (directory + "/trials")))
      found.push_back(entry.path());
    return found;
  }

  // The only trial with a result.
  std::filesystem::path winner(const std::string& directory) const {
    std::filesystem::path found;
    int results = 0;
    for (const auto& trial : trials(directory))
      if (std::filesystem::exists(trial / "result.json")) {
        found = trial;
        ++results;
      }
    EXPECT_EQ(results, 1);
    return found;
  }
};

TEST_F(Halving, APauseChangesNoBit) {
  const std::vector<std::string> more{"train.epochs=4", "dist.reduction=elastic", "dist.shards=2"};
  expect_success(train(1, "whole", more));
  auto paused = more;
  paused.insert(paused.end(), {"--pause-after-epochs", "2"});
  expect_success(train(1, "paused", paused));
  EXPECT_FALSE(std::filesystem::exists(folder / "paused/result.json"));
  EXPECT_EQ(newest_step("paused"), 16);
  const auto lines = metrics("paused");
  EXPECT_EQ(lines.back().at("kind"), "eval");
  expect_success(train(1, "paused", paused));  // it is there already
  EXPECT_EQ(metrics("paused"), lines);
  expect_success(train(2, "paused", more));
  EXPECT_EQ(tensors("paused"), tensors("whole"));
  EXPECT_EQ(result("paused").at("weights_sha256"), result("whole").at("weights_sha256"));
  EXPECT_EQ(metrics("paused"), metrics("whole"));
  // The control: the schedule of another length gives other weights.
  expect_success(train(1, "shorter", {"train.epochs=2", "dist.reduction=elastic", "dist.shards=2"}));
  EXPECT_NE(result("shorter").at("weights_sha256"), result("whole").at("weights_sha256"));
}

TEST_F(Halving, TheBestTrialGoesOnAsIfAloneAndTheOthersSayWhyNot) {
  const auto plan = spankey({"sweep", "plan", "sweep.toml", "--dir", "d"});
  EXPECT_THAT(plan.out, HasSubstr("halving by correct_key.accuracy (max): pauses after 1, 2 epochs, 1 of 3 goes on; "
                                  "about 6 of 12 epochs are trained"));
  for (int attempt = 0; attempt < 2; ++attempt) {
    Child driver({program(), "sweep", "resume", "sweep.toml", "--dir", "d"}, folder.path());
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    driver.kill_tree();
    driver.wait();
  }
  expect_success({program(), "sweep", "resume", "sweep.toml", "--dir", "d"});
  const auto best = winner("d");
  const auto told = nlohmann::json::parse(spankey({"sweep", "tell", "--dir", "d"}).out);
  for (const auto& trial : told.at("trials")) {
    const bool wins = trial.at("id") == best.filename().string();
    EXPECT_EQ(trial.at("state"), wins ? "done" : "stopped");
    if (!wins) continue;
    EXPECT_DOUBLE_EQ(trial.at("settings").at("optim.lr").get<double>(), 3e-3);
    EXPECT_GT(trial.at("value").get<double>(), 0.2);
  }
  expect_success({program(), "train", (best / "sweep/config.toml").string(), "--run-dir", "alone"});
  EXPECT_EQ(tensors("alone"), tensors("d/trials/" + best.filename().string()));

  const auto status = spankey({"sweep", "status", "--dir", "d"});
  EXPECT_THAT(status.out, AllOf(HasSubstr("3 trials: 1 done, 0 running, 0 failed, 0 waiting, 2 stopped"),
                                HasSubstr("stopped by halving:"), HasSubstr("correct_key.accuracy = "),
                                HasSubstr("the best 1 of 3 trials go on")));
  EXPECT_EQ(nlohmann::json::parse(spankey({"sweep", "status", "--dir", "d", "--json"}).out).at("stopped"), 2);
  EXPECT_EQ(nlohmann::json::parse(spankey({"ls", ".", "--json"}).out).at("sweeps").at(0).at("stopped"), 2);
  EXPECT_THAT(spankey({"ls", "."}).out, testing::ContainsRegex("failed +\\| +halved +\\| +waiting"));
  // A watch of it ends by itself, although not every trial is done.
  const auto watched = nlohmann::json::parse(spankey({"watch", "d", "--json", "--every", "1"}).out);
  EXPECT_EQ(watched.at("counts"), (nlohmann::json{{"done", 1}, {"halved", 2}}));
  expect_success({program(), "report", "d", "--out", "page"});
  EXPECT_THAT(content("page/report.md"), AllOf(HasSubstr("2 stopped"), HasSubstr("the best 1 of 3 trials go on")));

  // Another sweep of the store without halving trains the others to their end.
  write("rest.toml", std::string("[sweep]\nbase = \"small.toml\"\nstore = \"d/trials\"\n") + settings +
                         "[axes]\n\"optim.lr\" = [1e-5, 1e-4]\n");
  expect_success({program(), "sweep", "run", "rest.toml", "--dir", "rest"});
  for (const auto& trial : trials("d")) EXPECT_TRUE(std::filesystem::exists(trial / "result.json")) << trial;
}

TEST_F(Halving, GroupsOfAnMpiJobFollowIt) {
  expect_success(on_ranks(2, {"sweep", "run", "sweep.toml", "--dir", "mpi"}));
  winner("mpi");
}

TEST_F(Halving, MistakesAreNamed) {
  const auto refused = [&](const std::string& halving, const std::string& sentence) {
    write("bad.toml", std::string("[sweep]\nbase = \"small.toml\"\n") + settings + halving);
    expect_refused({"sweep", "plan", "bad.toml", "--dir", "bad"}, sentence);
  };
  refused("[halving]\nmetric = \"corect_key.accuracy\"\nrungs = [1]\n",
          "bad.toml:8: halving.metric: no run writes \"corect_key.accuracy\"");
  refused("[halving]\nmetric = \"corect_key.accuracy\"\nrungs = [1]\n", "did you mean 'correct_key.accuracy'?");
  const std::string rejections = "[halving]\nmetric = \"wrong_key.reject_fraction\"\nrungs = [1]\n";
  write("reject.toml", std::string("[sweep]\nbase = \"small.toml\"\n") + settings + rejections);
  expect_success({program(), "sweep", "plan", "reject.toml", "--dir", "bad"});
  refused("\"deny.mode\" = \"none\"\n" + rejections, "no run writes \"wrong_key.reject_fraction\"");
  refused("[halving]\nmetric = \"withheld\"\nrungs = [1, 4]\n", "halving.rungs = 4: no trial pauses");
  refused("[halving]\nmetric = \"withheld\"\nrungs = [3, 2]\n", "each more than the one before");
  refused("[halving]\nmetric = \"withheld\"\nrung = [1]\n", "did you mean 'rungs'?");
  refused("[halvin]\nmetric = \"withheld\"\n", "did you mean 'halving'?");
  refused("[halving]\nmetric = \"withheld\"\n", "has no rungs");
  refused("[halving]\nrungs = [1]\n", "halving.metric is missing");
  refused("[halving]\nmetric = \"correct_key.accuracy - attacks.worst_case.access\"\nrungs = [1]\n",
          "a table [attack]");
  refused("[halving]\nmetric = \"withheld\"\nmin_epochs = 1\nfactor = 1\n", "an integer from 2 to 1000");
}

class Steering : public Halving {};

TEST_F(Steering, TheCommandLineSetsAndVaries) {
  const auto labels = [&](std::vector<std::string> words) {
    std::vector<std::string> command{"sweep", "plan", "sweep.toml", "--dir", "d", "--json"};
    command.insert(command.end(), words.begin(), words.end());
    const auto outcome = spankey(command);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const auto plan = nlohmann::json::parse(outcome.out);
    std::vector<std::string> found;
    for (const auto& trial : plan.at("plan")) found.push_back(trial.at("settings"));
    return found;
  };
  EXPECT_EQ(labels({}).size(), 3u);
  EXPECT_EQ(labels({"optim.lr=.01"}), (std::vector<std::string>{""}));
  EXPECT_EQ(labels({"key.gamma=.5,1", "optim.lr=0.01"}), (std::vector<std::string>{"key.gamma=0.5", "key.gamma=1"}));
  EXPECT_EQ(labels({"key.layers=[0, 2],[0]", "optim.lr=0.01"}),
            (std::vector<std::string>{"key.layers=[0, 2]", "key.layers=[0]"}));
  expect_refused({"sweep", "plan", "sweep.toml", "--dir", "d", "key.gamm=1"}, "did you mean 'key.gamma'?");
  expect_refused({"sweep", "plan", "sweep.toml", "--dir", "d", "key.gamma=1,"}, "a value is missing");
  write("linked.toml", "[sweep]\nbase = \"small.toml\"\n[[linked]]\n\"key.gamma\" = [0.5, 1]\n\"key.m\" = [4, 8]\n");
  expect_refused({"sweep", "plan", "linked.toml", "--dir", "d", "key.m=8"}, "varies together with other keys");
}

TEST_F(Steering, EveryExampleOfTheDocumentationIsPlanned) {
  std::filesystem::copy_file(source("configs/demo.toml"), folder / "demo.toml");
  std::ifstream file(source("docs/sweeps.md"));
  int examples = 0;
  std::string text;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line == "```" && inside) {
      write("example.toml", text);
      const auto outcome = spankey({"sweep", "plan", "example.toml", "--dir", "d"});
      EXPECT_EQ(outcome.exit_code, 0) << text << outcome.err;
      ++examples;
      inside = false;
    }
    if (inside) text += line + "\n";
    if (line == "```toml") {
      inside = true;
      text.clear();
    }
  }
  EXPECT_EQ(examples, 9);
}

TEST_F(Steering, ManyRunsOfOneConfiguration) {
  expect_success({program(), "train", "small.toml", "train.epochs=1", "key.gamma=.5,1", "-m", "--run-dir", "many"});
  const auto told = nlohmann::json::parse(spankey({"sweep", "tell", "--dir", "many"}).out);
  ASSERT_EQ(told.at("trials").size(), 2u);
  for (const auto& trial : told.at("trials")) EXPECT_TRUE(trial.at("value").is_number());
  EXPECT_EQ(told.at("trials")[0].at("settings").at("key.gamma"), 0.5);
  expect_refused({"train", "small.toml", "-m", "--allow-change"}, "without options of a single run");
}

TEST_F(Steering, AConfigurationMayHaveABase) {
  write("wide.toml", "base = \"small.toml\"\n[key]\nm = 4\n");
  write("wider.toml", "base = \"wide.toml\"\n[key]\ngamma = 0.75\n");
  const auto whole = spankey({"config", "wider.toml"});
  EXPECT_EQ(whole.exit_code, 0) << whole.err;
  const auto by_hand = spankey({"config", "small.toml", "key.m=4", "key.gamma=0.75"});
  EXPECT_EQ(whole.out, by_hand.out);
  // A sweep over it gives the trials of the flat configuration.
  const auto id = [&](const char* base, std::vector<std::string> words) {
    write("of_base.toml", fmt::format("[sweep]\nbase = \"{}\"\n", base));
    std::vector<std::string> command{"sweep", "plan", "of_base.toml", "--dir", "d", "--json"};
    command.insert(command.end(), words.begin(), words.end());
    return nlohmann::json::parse(spankey(command).out).at("plan")[0].at("id").get<std::string>();
  };
  EXPECT_EQ(id("wider.toml", {}), id("small.toml", {"key.m=4", "key.gamma=0.75"}));
  write("a.toml", "base = \"b.toml\"\n");
  write("b.toml", "base = \"a.toml\"\n");
  expect_refused({"config", "a.toml"}, "a file that is not based on this one");
  write("c.toml", "base = \"none.toml\"\n");
  expect_refused({"config", "c.toml"}, "c.toml:1: base = \"none.toml\": no such file");
  write("e.toml", "base = \"small.toml\"\n[key]\ngama = 1\n");
  expect_refused({"config", "e.toml"}, "e.toml:3: key.gama");
}

TEST_F(Steering, AnOptimiserFromOutsideAsksAndIsTold) {
  write("outside.toml", "[sweep]\nbase = \"small.toml\"\n[set]\n\"train.epochs\" = 1\n");
  write("wishes.json", R"([{"optim.lr": 0.003}, {"optim.lr": 0.001, "key.layers": [0]}, {"optim.lr": 0.003}])");
  const auto ask = spankey({"sweep", "ask", "outside.toml", "--dir", "d", "--json", "wishes.json"});
  ASSERT_EQ(ask.exit_code, 0) << ask.err;
  const auto asked = nlohmann::json::parse(ask.out).at("trials");
  ASSERT_EQ(asked.size(), 3u);
  EXPECT_TRUE(asked[0].at("new"));
  EXPECT_FALSE(asked[2].at("new"));
  EXPECT_EQ(asked[0].at("id"), asked[2].at("id"));
  expect_success({program(), "sweep", "resume", "--dir", "d"});
  // A second round keeps what the first has done.
  write("wishes.json", R"({"optim.lr": 0.002})");
  expect_success({program(), "sweep", "ask", "outside.toml", "--dir", "d", "--json", "wishes.json"});
  expect_success({program(), "sweep", "tell", "--dir", "d", "--json", "told.json", "--metric",
                  "correct_key.accuracy - no_key.accuracy"});
  std::ifstream file(folder / "told.json");
  const auto told = nlohmann::json::parse(file);
  ASSERT_EQ(told.at("trials").size(), 3u);
  EXPECT_EQ(told.at("trials")[1].at("settings").at("key.layers"), nlohmann::json({0}));
  std::ifstream result(folder / ("d/trials/" + asked[0].at("id").get<std::string>() + "/result.json"));
  const auto measured = nlohmann::json::parse(result);
  EXPECT_DOUBLE_EQ(
      told.at("trials")[0].at("value").get<double>(),
      measured["correct_key"]["accuracy"]["mean"].get<double>() - measured["no_key"]["accuracy"].get<double>());
  EXPECT_EQ(told.at("trials")[2].at("state"), "waiting");
  EXPECT_TRUE(told.at("trials")[2].at("value").is_null());

  write("wishes.json", R"({"optim.lrr": 0.002})");
  expect_refused({"sweep", "ask", "outside.toml", "--dir", "d", "--json", "wishes.json"}, "did you mean 'optim.lr'?");
  write("wishes.json", "[3]");
  expect_refused({"sweep", "ask", "outside.toml", "--dir", "d", "--json", "wishes.json"}, "wishes.json: 3: accepted");
  expect_refused({"sweep", "ask", "sweep.toml", "--dir", "d", "--json", "wishes.json"},
                 "has trials or limits of its own");
  expect_refused({"sweep", "tell", "--dir", "d", "--metric", "corect_key.accuracy"},
                 "did you mean 'correct_key.accuracy'?");
}

TEST_F(Steering, OptunaDrivesTheExample) {
  const auto python = source(".venv-bench/bin/python");
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "SKIPPED: no .venv-bench (launch/setup --bench makes it)";
  if (run({python.string(), "-c", "import optuna"}, folder.path()).exit_code != 0)
    GTEST_SKIP() << "SKIPPED: .venv-bench has no optuna (launch/setup --bench installs it)";
  write("outside.toml", "[sweep]\nbase = \"small.toml\"\n[set]\n\"train.epochs\" = 1\n");
  const auto outcome =
      run({python.string(), source("examples/python/optuna_sweep.py").string(), program(), "outside.toml", "d", "3"},
          folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  // The best value that it was told is that of one of its trials, as the runs themselves tell it.
  const auto best = nlohmann::json::parse(outcome.out);
  std::vector<double> measured;
  for (const auto& trial : std::filesystem::directory_iterator(folder / "d/trials")) {
    std::ifstream file(trial.path() / "result.json");
    const auto result = nlohmann::json::parse(file);
    measured.push_back(result["correct_key"]["accuracy"]["mean"].get<double>() -
                       result["no_key"]["strip_accuracy"].get<double>());
  }
  ASSERT_EQ(measured.size(), 3U);
  EXPECT_DOUBLE_EQ(best.at("value").get<double>(), *std::max_element(measured.begin(), measured.end()));
  EXPECT_THAT(best.at("optim.lr").get<double>(), testing::AllOf(testing::Ge(1e-4), testing::Le(1e-2)));
}

}  // namespace
}  // namespace spankey::test::halving_test
