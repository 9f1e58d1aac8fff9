// The sub-commands on a finished run.
#include "small_run.h"
#include "support/expect_error.h"

namespace spankey::test::commands_test {
namespace {

using testing::HasSubstr;

class Commands : public SmallRun {};

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

// Published files of three kinds, and a network trained on what became of them.
class Imports : public SmallRun {
 protected:
  void write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories((folder / name).parent_path());
    std::ofstream(folder / name, std::ios::binary) << bytes;
  }

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
  std::ifstream sheet(folder / "sheet.png", std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(sheet), {}).substr(1, 3), "PNG");
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
  for (int image = 0; image < 10; ++image)
    batch += std::string(1, static_cast<char>(image % 10)) + std::string(3072, 'x');
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
              testing::AllOf(HasSubstr("git"), HasSubstr("LibTorch 2."), HasSubstr("HDF5 1."), HasSubstr("MPI")));
  EXPECT_THAT(run(on_ranks(1, {"devices"}), folder.path()).out, HasSubstr("cpu"));
  for (const char* command : {"train", "eval", "data", "inspect", "config", "devices"})
    EXPECT_EQ(run(on_ranks(1, {command, "--help"}), folder.path()).exit_code, 0) << command;
  EXPECT_THAT(run(on_ranks(1, {"train", "--help"}), folder.path()).out, HasSubstr("key.target_std"));
}

// What docs/configuration.md says comes from the program.
TEST_F(Commands, TheReferenceOfTheConfigurationIsTrue) {
  std::ifstream file(source("docs/configuration.md"));
  const std::string document{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(document, HasSubstr(run(on_ranks(1, {"config", "--markdown"}), folder.path()).out));
}

}  // namespace
}  // namespace spankey::test::commands_test
