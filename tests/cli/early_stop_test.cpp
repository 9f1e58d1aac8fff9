// Runs that end before their last epoch, and what else changes how a run learns: a rate that warms up, smoothed labels
// and averaged weights. All through the real program.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <tuple>

#include "base/file.h"
#include "data/make_data.h"
#include "small_run.h"

namespace spankey::test::early_stop_test {
namespace {

using testing::AllOf, testing::HasSubstr;

const std::vector<std::string> elastic{"dist.reduction=elastic", "dist.shards=4"};

std::vector<std::string> with(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class EarlyStop : public SmallRun {
 protected:
  Outcome spankey(std::vector<std::string> words) const {
    words.insert(words.begin(), program());
    return run(words, folder.path());
  }

  nlohmann::json figures(const std::string& name) const { return result(name).at("correct_key"); }

  // What a checkpoint holds but for its configuration.
  nlohmann::json numbers(const std::string& name) const {
    auto all = nlohmann::json::array();
    for (const auto& tensor : tensors(name))
      if (tensor.at("name") != "config") all.push_back(tensor);
    return all;
  }
};

// The rate is 0 to six digits, so no evaluation is better than the first one.
const std::vector<std::string> hopeless =
    with(elastic, {"optim.lr=1e-12", "train.early_stop.metric=correct_key.accuracy", "train.early_stop.patience=2",
                   "train.early_stop.min_improvement=0.2"});
constexpr int stops_at = 24;  // the third epoch's end

TEST_F(EarlyStop, ARunThatComesNoFurtherEndsWithTheWeightsOfItsLastEpoch) {
  expect_success(train(1, "stopped", hopeless));
  const auto stop = result("stopped").at("early_stop");
  EXPECT_EQ(stop.at("epoch"), 3);
  EXPECT_EQ(stop.at("best_epoch"), 1);
  EXPECT_THAT(stop.at("reason").get<std::string>(),
              AllOf(HasSubstr("correct_key.accuracy = "), HasSubstr("was not improved by more than 0.2 in 2 epochs")));
  EXPECT_EQ(result("stopped").at("epochs"), 3);
  EXPECT_EQ(result("stopped").at("steps"), stops_at);
  EXPECT_EQ(metrics("stopped").back().at("early_stop"), stop);
  // The same as a run of three epochs.
  expect_success(train(1, "three", with(elastic, {"optim.lr=1e-12", "train.epochs=3"})));
  EXPECT_EQ(numbers("stopped"), numbers("three"));
  EXPECT_EQ(result("stopped").at("weights_sha256"), result("three").at("weights_sha256"));
  EXPECT_EQ(figures("stopped"), figures("three"));
  EXPECT_FALSE(result("three").contains("early_stop"));
  // Decided alike on two ranks; started again, it is finished.
  expect_success(train(2, "ranks", hopeless));
  EXPECT_EQ(result("ranks").at("early_stop"), stop);
  EXPECT_EQ(result("ranks").at("weights_sha256"), result("three").at("weights_sha256"));
  EXPECT_THAT(run(train(1, "stopped", hopeless), folder.path()).out, HasSubstr("is finished"));
}

// The control: with a rate that learns the same rule stops later or never, and with more patience the run goes on.
TEST_F(EarlyStop, ARunThatComesFurtherGoesOn) {
  const auto rule = with(elastic, {"train.early_stop.metric=correct_key.accuracy", "train.early_stop.patience=7"});
  expect_success(train(1, "learns", rule));
  EXPECT_FALSE(result("learns").contains("early_stop"));
  EXPECT_EQ(result("learns").at("epochs"), 8);
  expect_success(train(1, "plain", elastic));
  EXPECT_EQ(result("learns").at("weights_sha256"), result("plain").at("weights_sha256"));

  expect_success(train(1, "stopped", hopeless));
  auto patient = hopeless;
  patient.insert(patient.end(), {"train.early_stop.patience=4", "--allow-change"});
  expect_success(train(1, "stopped", patient));
  EXPECT_EQ(result("stopped").at("early_stop").at("epoch"), 5);
}

// Each moment about the decision: the checkpoint is there and the evaluation not, both are, and the result alone is
// missing.
TEST_F(EarlyStop, KilledAtTheDecisionItDecidesTheSame) {
  expect_success(train(1, "whole", hopeless));
  const auto decided = result("whole").at("early_stop");
  const auto lines = metrics("whole");
  for (const std::string missing : {"result", "evaluation", "metrics"}) {
    std::filesystem::copy(folder / "whole", folder / missing, std::filesystem::copy_options::recursive);
    std::filesystem::remove(folder / missing / "result.json");
    if (missing == "metrics") std::filesystem::remove(folder / missing / "metrics.jsonl");
    if (missing == "evaluation") {
      std::ifstream file(folder / "whole/metrics.jsonl");
      std::string text, kept;
      while (std::getline(file, text)) {
        const auto line = nlohmann::json::parse(text);
        if (line.at("kind") == "step" || line.at("global_step") != stops_at) kept += text + "\n";
      }
      std::ofstream(folder / missing / "metrics.jsonl") << kept;
    }
    expect_success(train(2, missing, hopeless));
    EXPECT_EQ(result(missing).at("early_stop"), decided) << missing;
    EXPECT_EQ(tensors(missing), tensors("whole")) << missing;
    if (missing == "metrics") continue;
    EXPECT_EQ(metrics(missing), lines) << missing;
  }
}

TEST_F(EarlyStop, KilledAnywhereItDecidesTheSame) {
  make_image_data(64, 16, {1, 28, 28}, 4)->save(folder / "noise.h5");
  auto busy = hopeless;
  busy.insert(busy.end(), {"data.file=noise.h5", "data.limit=0", "train.global_batch=8", "model.name=small_resnet",
                           "key.layers=[0]", "model.batchnorm=recalibrate_ok"});
  expect_success(train(1, "whole", busy));
  EXPECT_TRUE(result("whole").contains("early_stop"));
  int kills = 0;
  for (int step = 3; step <= stops_at; step += 7) {
    Child child(train(kills % 2 == 0 ? 2 : 1, "killed", busy), folder.path());
    wait_for_step(child, "killed", step);
    if (!child.running()) break;
    child.kill_tree();
    child.wait();
    ++kills;
  }
  EXPECT_GT(kills, 1);
  expect_success(train(1, "killed", busy));
  EXPECT_EQ(result("killed").at("early_stop"), result("whole").at("early_stop"));
  EXPECT_EQ(tensors("killed"), tensors("whole"));
  // BatchNorm's statistics are measured anew, as after a last epoch.
  auto three = busy;
  three.insert(three.end(), {"train.epochs=3", "train.early_stop.patience=5"});
  expect_success(train(1, "three", three));
  EXPECT_EQ(result("three").at("weights_sha256"), result("whole").at("weights_sha256"));
}

TEST_F(EarlyStop, AMetricThatNoEvaluationWritesIsRefusedAtTheStart) {
  const auto refused = [&](const std::string& metric, const std::string& sentence) {
    for (const bool dry : {false, true}) {
      std::vector<std::string> words{"train", "small.toml", "--run-dir", "bad", "train.early_stop.metric=" + metric};
      if (dry) words.emplace_back("--dry-run");
      expect_refused(words, sentence);
    }
    EXPECT_FALSE(std::filesystem::exists(folder / "bad/metrics.jsonl"));
  };
  refused("corect_key.accuracy", "did you mean 'correct_key.accuracy'?");
  refused("loss", "no run writes \"loss\"; accepted: correct_key.accuracy, no_key.strip_accuracy, withheld");
  refused("attacks.price", "no run writes \"attacks.price\"");
  refused("train.no_key.accuracy", "no run writes \"train.no_key.accuracy\"");
  std::ofstream(folder / "sweep.toml") << "[sweep]\nbase = \"small.toml\"\n[axes]\n\"train.early_stop.metric\" = "
                                          "[\"withheld\", \"witheld\"]\n";
  expect_refused({"sweep", "plan", "sweep.toml", "--dir", "d"}, "sweep.toml:4: train.early_stop.metric = \"witheld\"");
  // One that only a network that can reject has.
  expect_refused(
      {"train", "small.toml", "--run-dir", "bad", "deny.mode=none", "train.early_stop.metric=no_key.reject_fraction"},
      "no run writes \"no_key.reject_fraction\"");
}

TEST_F(EarlyStop, ATrialThatStopsEarlyIsDoneAndSaysWhy) {
  std::ofstream(folder / "sweep.toml") << "[sweep]\nbase = \"small.toml\"\n[set]\n\"train.epochs\" = 4\n"
                                          "\"train.early_stop.metric\" = \"correct_key.accuracy\"\n"
                                          "\"train.early_stop.patience\" = 1\n[axes]\n\"optim.lr\" = [1e-12, 3e-3]\n"
                                          "\"train.early_stop.min_improvement\" = [0.2]\n";
  expect_success({program(), "sweep", "run", "sweep.toml", "--dir", "d"});
  const auto status = spankey({"sweep", "status", "--dir", "d"}).out;
  EXPECT_THAT(status, AllOf(HasSubstr("2 trials: 2 done, 0 running, 0 failed, 0 waiting"), HasSubstr("done early:"),
                            HasSubstr("stopped early after epoch 2: correct_key.accuracy = ")));
  const auto watched = nlohmann::json::parse(spankey({"watch", "d", "--json", "--once"}).out);
  EXPECT_EQ(watched.at("counts"), (nlohmann::json{{"done", 2}}));
  int early = 0;
  for (const auto& one : watched.at("runs"))
    early += one.at("reason").get<std::string>().starts_with("stopped early after epoch 2") ? 1 : 0;
  EXPECT_GE(early, 1);
  EXPECT_THAT(spankey({"watch", "d", "--once"}).out, HasSubstr("stopped early after epoch 2"));
  const auto listed = nlohmann::json::parse(spankey({"ls", "d/trials", "--json"}).out).at("runs");
  EXPECT_EQ(std::count_if(listed.begin(), listed.end(), [](const auto& one) { return one.contains("stopped_early"); }),
            early);
  EXPECT_THAT(spankey({"ls", "d/trials"}).out, HasSubstr("done, early"));
  expect_success({program(), "report", "d", "--out", "page"});
  EXPECT_THAT(read_text(folder / "page/report.md"), AllOf(HasSubstr(fmt::format("2 done ({} stopped early)", early)),
                                                          HasSubstr("Runs that stopped early"), HasSubstr("2 of 4")));
}

class Learning : public EarlyStop {};

const std::vector<std::string> options =
    with(elastic, {"optim.warmup_steps=20", "train.label_smoothing=0.1", "train.ema_decay=0.9"});

TEST_F(Learning, OptionsKeepTheirBitsOverKillsAndRanks) {
  expect_success(train(1, "undisturbed", options));
  const int kills =
      kill_thrice("killed", [&](int attempt) { return train(attempt % 2 == 0 ? 2 : 1, "killed", options); });
  EXPECT_GT(kills, 1);
  expect_success(train(2, "killed", options));
  EXPECT_EQ(tensors("killed"), tensors("undisturbed"));
  EXPECT_EQ(metrics("killed"), metrics("undisturbed"));
  EXPECT_EQ(result("killed").at("weights_sha256"), result("undisturbed").at("weights_sha256"));
  // Negative controls: without any of them other weights come of it.
  for (const char* off : {"optim.warmup_steps=0", "train.label_smoothing=0", "train.ema_decay=0"}) {
    expect_success(train(1, off, with(options, {off})));
    EXPECT_NE(result(off).at("weights_sha256"), result("undisturbed").at("weights_sha256")) << off;
  }
  // The rate of each line by the formula: 8 steps an epoch, and lines after steps 8, 10, 16, 20, ...
  int lines = 0;
  for (const auto& line : metrics("undisturbed")) {
    if (line.at("kind") != "step") continue;
    EXPECT_DOUBLE_EQ(line.at("lr").get<double>(), 1e-3 * std::min(1.0, line.at("global_step").get<double>() / 20));
    ++lines;
  }
  EXPECT_GT(lines, 8);
}

TEST_F(Learning, ResidentStepsGiveTheSameWeights) {
  expect_success(train(1, "host", options));
  expect_success(train(1, "resident", with(options, {"train.capture=on"})));
  EXPECT_EQ(numbers("resident"), numbers("host"));
  EXPECT_EQ(result("resident").at("weights_sha256"), result("host").at("weights_sha256"));
}

// What a run evaluates is what everybody gets afterwards.
TEST_F(Learning, AveragedWeightsAreEvaluatedAndExported) {
  const std::vector<std::string> few{"train.epochs=2", "train.ema_decay=0.9"};
  expect_success(train(1, "run", few));
  expect_success(train(1, "plain", {"train.epochs=2"}));
  EXPECT_NE(result("run").at("weights_sha256"), result("plain").at("weights_sha256"));
  EXPECT_NE(result("run").at("correct_key"), result("plain").at("correct_key"));
  // The weights that are trained are the same, and stand in the checkpoint beside the average.
  const auto averaged = numbers("run"), plain = numbers("plain");
  int average = 0;
  for (const auto& tensor : averaged) {
    const bool is_average = tensor.dump().find("average/") != std::string::npos;
    average += is_average ? 1 : 0;
    if (is_average) continue;
    EXPECT_NE(std::find(plain.begin(), plain.end(), tensor), plain.end()) << tensor;
  }
  EXPECT_GT(average, 0);
  EXPECT_EQ(averaged.size() - static_cast<std::size_t>(average), plain.size());

  const auto evaluated = nlohmann::json::parse(spankey({"eval", "run", "--json"}).out);
  EXPECT_EQ(evaluated.at("correct_key"), result("run").at("correct_key"));
  expect_success({program(), "export", "run", "--out", "run.safetensors"});
  const auto file = read_text(folder / "run.safetensors");
  EXPECT_NE(file.find(result("run").at("weights_sha256").get<std::string>()), std::string::npos);
  // An average does not begin or end in the middle of a run.
  for (const auto& [name, decay, sentence] : {std::tuple("run", "0", "the run averages its weights; accepted: "),
                                              std::tuple("plain", "0.5", "the run does not average its weights")}) {
    const auto refused = run(
        train(1, name, {"train.epochs=3", std::string("train.ema_decay=") + decay, "--allow-change"}), folder.path());
    EXPECT_EQ(refused.exit_code, 2) << refused.err;
    EXPECT_THAT(refused.err, HasSubstr(sentence));
  }
}

}  // namespace
}  // namespace spankey::test::early_stop_test
