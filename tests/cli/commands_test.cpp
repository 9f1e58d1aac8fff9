// The sub-commands on a finished run.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <sstream>
#include <utility>

#include "base/file.h"
#include "base/hdf5_file.h"
#include "data/make_data.h"
#include "small_run.h"
#include "support/expect_error.h"

namespace spankey::test::commands_test {
namespace {

using testing::HasSubstr;

double number_after(const std::string& text, const std::string& words) {
  const auto place = text.find(words);
  EXPECT_NE(place, std::string::npos) << words << "\n" << text;
  if (place == std::string::npos) return std::numeric_limits<double>::quiet_NaN();
  return std::stod(text.substr(place + words.size()));
}

// That `text` begins with a line which tells of their mean and standard deviation.
void expect_moments(const std::string& text, const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  double mean = 0, variance = 0;
  for (const double value : values) mean += value / count;
  for (const double value : values) variance += (value - mean) * (value - mean) / count;
  const auto line = text.substr(0, text.find('\n'));
  EXPECT_NEAR(number_after(line, "mean "), mean, 1e-4);
  EXPECT_NEAR(number_after(line, ", sd "), std::sqrt(variance), 1e-4);
}

// Training and test samples of each class, from the table that `data info` ends with.
std::vector<std::pair<int, int>> class_frequencies(const std::string& info) {
  const auto header = info.find("\nclass ");
  EXPECT_NE(header, std::string::npos) << info;
  std::istringstream rows(info.substr(info.find('\n', header + 1)));
  std::vector<std::pair<int, int>> counts;
  std::string name;
  for (int in_train = 0, in_test = 0; rows >> name >> in_train >> in_test;) counts.emplace_back(in_train, in_test);
  return counts;
}

class Commands : public SmallRun {
 protected:
  std::string info(const std::string& file) const {
    const auto outcome = run(on_ranks(1, {"data", "info", file}), folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  }

  // By a program that is not ours.
  std::string sha256_of(const std::string& file) const {
    const auto outcome = run({"sha256sum", file}, folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out.substr(0, 64);
  }
};

TEST_F(Commands, TrainWritesTheRunDirectory) {
  const auto outcome = run(train(2, "run"), folder.path());
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("correct key"));
  for (const char* name :
       {"config.toml", "metrics.jsonl", "result.json", "secret/basis.h5", "log/rank0.log", "log/rank1.log"})
    EXPECT_TRUE(std::filesystem::exists(folder / "run" / name)) << name;
  const auto figures = result("run");
  EXPECT_EQ(figures["steps"], steps);
  EXPECT_EQ(figures["epochs"], 8);
  EXPECT_EQ(figures["ranks"], 2);
  EXPECT_EQ(figures["correct_key"]["accuracy"]["keys"], 2);
  EXPECT_TRUE(figures["seconds_per_epoch"].is_number());
  for (const char* digest : {"config_hash", "basis_digest", "weights_sha256"})
    EXPECT_EQ(figures[digest].get<std::string>().size(), 64U) << digest;
  for (const char* kind : {"no_key", "correct_key", "wrong_key"})
    for (const char* figure : {"accuracy", "strip_accuracy", "reject_fraction"})
      EXPECT_TRUE(figures[kind].contains(figure)) << kind << figure;
  const auto mode = std::filesystem::status(folder / "run/secret/basis.h5").permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(Commands, WithoutRunDirTheRunIsNamedAfterFileAndConfiguration) {
  std::filesystem::create_directory(folder / "configs");
  std::filesystem::copy_file(folder / "small.toml", folder / "configs/tiny.toml");
  const auto outcome = run(on_ranks(1, {"train", "configs/tiny.toml", "train.epochs=1"}), folder.path());
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  std::vector<std::string> runs;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "runs"))
    runs.push_back("runs/" + entry.path().filename().string());
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0], "runs/tiny-" + result(runs[0]).at("config_hash").get<std::string>().substr(0, 8));
  EXPECT_THAT(outcome.out, HasSubstr("run: " + runs[0] + "\n"));
}

TEST_F(Commands, TheResultTellsOfSecondsAndOfTheCommonestClass) {
  const auto started = std::chrono::steady_clock::now();
  expect_success(train(1, "run", {"train.epochs=2"}));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started;
  const auto figures = result("run");
  const auto seconds = figures.at("seconds_total").get<double>();
  EXPECT_GT(seconds, 0);
  EXPECT_LT(seconds, elapsed.count());
  EXPECT_DOUBLE_EQ(2 * figures.at("seconds_per_epoch").get<double>(), seconds);
  // Of the 1024 test images number i shows i mod 10.
  EXPECT_DOUBLE_EQ(figures.at("majority_rate").get<double>(), 103.0 / 1024);
  int most = 0, all = 0;
  for (const auto& [in_train, in_test] : class_frequencies(info("builtin:glyphs"))) {
    most = std::max(most, in_test);
    all += in_test;
  }
  EXPECT_EQ(all, 1024);
  EXPECT_EQ(most, 103);
  EXPECT_FALSE(figures.contains("train"));  // eval.train = false
}

TEST_F(Commands, EvalTrainMeasuresTheTrainingSplitAsWell) {
  const auto outcome = run(train(2, "run", {"train.epochs=1", "data.limit=384", "eval.train=true"}), folder.path());
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("on the training split"));
  const auto split = result("run").at("train");
  for (const char* figure : {"accuracy", "strip_accuracy", "reject_fraction"}) {
    EXPECT_EQ(split.at("correct_key").at(figure).at("keys"), 2) << figure;
    EXPECT_EQ(split.at("wrong_key").at(figure).at("keys"), 2) << figure;
    // A number of the 384 samples that are trained on, not of the 1024 of the test split.
    const double samples = 384 * split.at("no_key").at(figure).get<double>();
    EXPECT_NEAR(samples, std::round(samples), 1e-6) << figure;
  }
}

TEST_F(Commands, ALineOfMetricsForEveryTenthStepAndTheLastOfAnEpoch) {
  expect_success(train(2, "run", {"train.epochs=2"}));
  std::ifstream file(folder / "run/metrics.jsonl");
  std::vector<int> at_steps;
  for (std::string text; std::getline(file, text);) {
    const auto line = nlohmann::json::parse(text);
    if (line.at("kind").get<std::string>() != "step") continue;
    at_steps.push_back(line.at("global_step").get<int>());
    std::vector<std::string> fields;
    for (const auto& field : line.items())
      if (field.key() != "started_at") fields.push_back(field.key());
    EXPECT_EQ(line.contains("started_at"), at_steps.size() == 1);  // the first line of all tells when the run began
    EXPECT_THAT(fields, testing::UnorderedElementsAre("kind", "global_step", "step", "steps_per_epoch", "epoch", "loss",
                                                      "ce", "deny", "lr", "samples_per_second", "step_ms_p50",
                                                      "step_ms_p99", "time"));
    const auto rate = line.at("samples_per_second").get<double>();
    const auto p50 = line.at("step_ms_p50").get<double>(), p99 = line.at("step_ms_p99").get<double>();
    EXPECT_GT(rate, 0);
    EXPECT_GT(p50, 0);
    EXPECT_GE(p99, p50);
    // What is true of any times: a median is at most twice the mean, and the longest is at least the mean.
    const double mean = 1e3 * 128 / rate;
    EXPECT_LE(p50, 2.001 * mean);
    EXPECT_GE(p99, 0.9 * mean);
  }
  EXPECT_THAT(at_steps, testing::ElementsAre(8, 10, 16));
}

// Under mpirun a rank writes to a terminal whatever mpirun itself writes to.
TEST_F(Commands, IntoAPipeProgressIsOnePlainLineForAnEpoch) {
  for (const int ranks : {1, 2}) {
    const auto name = "run-" + std::to_string(ranks);
    std::string line;
    for (const auto& word : train(ranks, name, {"train.epochs=2"})) line += "'" + word + "' ";
    const auto outcome = run({"env", "TERM=xterm", "sh", "-c", line + "2>&1 >results | cat"}, folder.path());
    const auto& out = outcome.out;
    ASSERT_TRUE(std::filesystem::exists(folder / (name + "/result.json"))) << outcome.err;
    EXPECT_EQ(result(name)["epochs"], 2);
    const std::string bar(32, '#');
    EXPECT_THAT(out, HasSubstr("\nepoch 1/2  " + bar + "  8/8   loss "));
    EXPECT_THAT(out, HasSubstr("\nepoch 2/2  " + bar + "  8/8   loss "));
    EXPECT_EQ(out.find_first_of("\r\033"), std::string::npos) << out;
    EXPECT_EQ(read_text(folder / "results").find("epoch"), std::string::npos);  // they go elsewhere
  }
}

TEST_F(Commands, EvalAgreesWithTheResultAndTakesOtherNumbersOfKeys) {
  expect_success(train(1, "run"));
  const auto same = nlohmann::json::parse(run(on_ranks(1, {"eval", "run", "--json"}), folder.path()).out);
  for (const char* kind : {"no_key", "correct_key", "wrong_key"}) EXPECT_EQ(same[kind], result("run")[kind]);
  const auto more =
      nlohmann::json::parse(run(on_ranks(2, {"eval", "run", "--keys", "5", "--json"}), folder.path()).out);
  EXPECT_EQ(more["correct_key"]["accuracy"]["keys"], 5);
  EXPECT_EQ(more["no_key"], same["no_key"]);
  EXPECT_THAT(run(on_ranks(1, {"eval", "run"}), folder.path()).out, HasSubstr("strip accuracy"));
}

TEST_F(Commands, InspectKnowsAllFiles) {
  expect_success(train(1, "run"));
  const auto kind = [&](const std::string& path) {
    const auto outcome = run(on_ranks(1, {"inspect", path, "--json"}), folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out)["kind"].get<std::string>();
  };
  EXPECT_EQ(kind("run"), "spankey checkpoint");
  EXPECT_EQ(kind("run/checkpoints/step_00000064.h5"), "spankey checkpoint");
  EXPECT_EQ(kind("run/secret/basis.h5"), "spankey basis");
  ASSERT_EQ(
      run(on_ranks(1, {"data", "render", "glyphs", "--train", "20", "--test", "10", "--out", "g.h5"}), folder.path())
          .exit_code,
      0);
  EXPECT_EQ(kind("g.h5"), "spankey data set");
}

TEST_F(Commands, InspectTellsStepConfigurationAndDigestsOfACheckpoint) {
  expect_success(train(1, "run", {"train.epochs=1"}));
  const std::string checkpoint = "run/checkpoints/step_00000008.h5";
  const auto outcome = run(on_ranks(1, {"inspect", checkpoint, "--json"}), folder.path());
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto description = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(description.at("global_step"), 8);
  EXPECT_EQ(description.at("epoch"), 1);
  EXPECT_EQ(description.at("step"), 0);
  EXPECT_EQ(description.at("config").get<std::string>(), read_text(folder / "run/config.toml"));
  EXPECT_EQ(description.at("config_hash"), result("run").at("config_hash"));

  std::map<std::string, nlohmann::json> tensors_by_name;
  for (const auto& tensor : description.at("tensors")) {
    EXPECT_THAT(tensor.at("sha256").get<std::string>(), testing::MatchesRegex("[0-9a-f]{64}")) << tensor;
    tensors_by_name[tensor.at("name").get<std::string>()] = tensor;
  }
  const auto values = h5::File::open(folder / checkpoint).read<float>("parameters/conv1.weight");
  std::ofstream(folder / "conv1.weight", std::ios::binary)
      .write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  const auto& weight = tensors_by_name.at("parameters/conv1.weight");
  EXPECT_EQ(weight.at("shape"), nlohmann::json({16, 1, 3, 3}));
  EXPECT_EQ(weight.at("dtype"), "float32");
  EXPECT_EQ(weight.at("sha256").get<std::string>(), sha256_of("conv1.weight"));
  EXPECT_EQ(tensors_by_name.at("config").at("sha256").get<std::string>(), sha256_of("run/config.toml"));
}

TEST_F(Commands, DataInfoShowsShapeMomentsAndFrequenciesOfImages) {
  auto content = make_image_content(7, 5, {3, 4, 5});
  content.class_names = {"a", "b", "c"};
  Dataset::in_memory(content)->save(folder / "images.h5");
  const auto text = info("images.h5");
  EXPECT_THAT(text, testing::AllOf(HasSubstr("7 train, 5 test"), HasSubstr("3 x 4 x 5, uint8")));
  constexpr std::size_t channels = 3, plane = 4 * 5;
  for (std::size_t channel = 0; channel < channels; ++channel) {
    std::vector<double> values;
    for (std::size_t i = 0; i < content.train.images.size(); ++i)
      if (i / plane % channels == channel) values.push_back(content.train.images[i] / 255.0);
    expect_moments(text.substr(text.find("channel " + std::to_string(channel))), values);
  }
  EXPECT_EQ(class_frequencies(text), (std::vector<std::pair<int, int>>{{3, 2}, {2, 2}, {2, 1}}));
}

TEST_F(Commands, DataInfoShowsShapeMomentsAndFrequenciesOfFeatures) {
  const auto content = make_feature_content(8, 5, 3);
  Dataset::in_memory(content)->save(folder / "vectors.h5");
  const auto text = info("vectors.h5");
  EXPECT_THAT(text, testing::AllOf(HasSubstr("8 train, 5 test"), HasSubstr("3, float32 features")));
  const auto& values = content.train.features;
  expect_moments(text.substr(text.find("mean ")), {values.begin(), values.end()});
  EXPECT_EQ(class_frequencies(text), (std::vector<std::pair<int, int>>{{4, 3}, {4, 2}}));
}

// Published files of three kinds, and a network trained on what became of them.
class Imports : public SmallRun {
 protected:
  // IDX: the magic number with the number of dimensions, their sizes, the bytes.
  static std::string idx(const std::vector<int>& shape, const std::string& values) {
    std::string bytes{'\0', '\0', '\x08', static_cast<char>(shape.size())};
    for (const int extent : shape)
      bytes += {'\0', '\0', static_cast<char>(extent >> 8), static_cast<char>(extent & 255)};
    return bytes + values;
  }

  std::string import(const std::string& kind, const std::string& from, const std::string& out) const {
    const auto outcome = run(on_ranks(1, {"data", "import", kind, "--from", from, "--out", out}), folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  }
};

TEST_F(Imports, Mnist) {
  std::string pixels(28 * 28 * 20, '\0'), labels(20, '\0');
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<char>(i % 251);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<char>(i % 10);
  for (const std::string split : {"train", "t10k"}) {
    write("idx/" + split + "-images-idx3-ubyte", idx({20, 28, 28}, pixels));
    write("idx/" + split + "-labels-idx1-ubyte", idx({20}, labels));
  }
  EXPECT_THAT(import("mnist", "idx", "mnist.h5"), HasSubstr("20 train, 20 test"));
  const auto info = run(on_ranks(1, {"data", "info", "mnist.h5", "--verify", "--sheet", "sheet.png"}), folder.path());
  EXPECT_EQ(info.exit_code, 0) << info.err;
  EXPECT_THAT(info.out, testing::AllOf(HasSubstr("1 x 28 x 28"), HasSubstr("the digest is that of the content")));
  EXPECT_EQ(content("sheet.png").substr(1, 3), "PNG");
  expect_success(train(1, "run", {"data.file=mnist.h5", "data.limit=0", "train.global_batch=10", "train.epochs=1"}));
  // The sheet as the only image of every class of a folder.
  for (const char* place : {"folder/train/a", "folder/train/b", "folder/test/a", "folder/test/b"}) {
    std::filesystem::create_directories(folder / place);
    std::filesystem::copy_file(folder / "sheet.png", folder / place / "1.png");
  }
  EXPECT_THAT(import("folder", "folder", "folder.h5"), HasSubstr("2 train, 2 test"));
}

TEST_F(Imports, Cifar10) {
  std::string batch;
  for (int image = 0; image < 10; ++image) batch.append(1, static_cast<char>(image % 10)).append(3072, 'x');
  for (const char* name :
       {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"})
    write(std::string("cifar/") + name + ".bin", batch);
  EXPECT_THAT(import("cifar10", "cifar", "cifar.h5"),
              testing::AllOf(HasSubstr("50 train, 10 test"), HasSubstr("3 x 32 x 32")));
}

TEST_F(Commands, ConfigPrintsAFileThatMeansTheSame) {
  const auto first = run(on_ranks(1, {"config", "small.toml", "key.gamma=0.7"}), folder.path());
  ASSERT_EQ(first.exit_code, 0) << first.err;
  std::ofstream(folder / "resolved.toml") << first.out;
  EXPECT_EQ(run(on_ranks(1, {"config", "resolved.toml"}), folder.path()).out, first.out);
  EXPECT_THAT(first.out, HasSubstr("gamma = 0.7"));
}

TEST_F(Commands, VersionDevicesAndHelp) {
  EXPECT_THAT(run(on_ranks(1, {"--version"}), folder.path()).out,
              testing::AllOf(HasSubstr("git"), HasSubstr("LibTorch 2."), HasSubstr("HDF5 1."), HasSubstr("MPI"),
                             testing::ContainsRegex("\nCUDA ([0-9]+[.][0-9]+, NCCL [0-9]|not available: [^\n])")));
  EXPECT_THAT(run(on_ranks(1, {"devices"}), folder.path()).out, HasSubstr("cpu"));
  EXPECT_THAT(run(on_ranks(1, {"train", "--help"}), folder.path()).out, HasSubstr("key.target_std"));
}

// The help of `command` and of all commands in it ends with a line that calls it.
void expect_examples(const std::vector<std::string>& command, const std::filesystem::path& place) {
  auto arguments = command;
  arguments.emplace_back("--help");
  const auto outcome = run(on_ranks(1, arguments), place);
  std::string called = "Example: spankey";
  for (const auto& word : command) called += " " + word;
  EXPECT_EQ(outcome.exit_code, 0) << called;
  std::istringstream lines(outcome.out);
  std::vector<std::string> inner;
  std::string last;
  bool list = false;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) last = line;
    if (list && line.starts_with("  ") && line[2] != ' ') inner.push_back(line.substr(2, line.find(' ', 2) - 2));
    if (!line.starts_with("  ")) list = line == "Subcommands:";
  }
  EXPECT_THAT(last, testing::StartsWith(called));
  for (const auto& name : inner) {
    auto deeper = command;
    deeper.push_back(name);
    expect_examples(deeper, place);
  }
}

TEST_F(Commands, EveryHelpEndsWithAnExample) {
  expect_examples({}, folder.path());
}

// What docs/configuration.md says comes from the program.
TEST_F(Commands, TheReferenceOfTheConfigurationIsTrue) {
  EXPECT_THAT(read_text(source("docs/configuration.md")),
              HasSubstr(run(on_ranks(1, {"config", "--markdown"}), folder.path()).out));
}

}  // namespace
}  // namespace spankey::test::commands_test
