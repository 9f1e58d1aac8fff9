// Event files of TensorBoard that a real run leaves on request.
#include <gmock/gmock.h>

#include "base/file.h"
#include "small_run.h"

namespace spankey::test::tracking_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Tracked : public SmallRun {
 protected:
  std::vector<std::filesystem::path> event_files(const std::string& run) const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder / run / "tensorboard"))
      files.push_back(entry.path());
    return files;
  }
  static std::size_t occurrences(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
  }
};

TEST_F(Tracked, EventFilesChangeNothingAndTellEachLineOnce) {
  expect_success(train(1, "plain", {"train.epochs=2"}));
  EXPECT_FALSE(std::filesystem::exists(folder / "plain/tensorboard"));
  expect_success(train(1, "run", {"train.epochs=1", "run.tensorboard=true"}));
  ASSERT_EQ(event_files("run").size(), 1U);
  expect_success(train(1, "run", {"train.epochs=2", "run.tensorboard=true", "--allow-change"}));
  EXPECT_EQ(result("run").at("config_hash"), result("plain").at("config_hash"));
  EXPECT_EQ(result("run").at("weights_sha256"), result("plain").at("weights_sha256"));
  ASSERT_EQ(event_files("run").size(), 1U);  // with the lines of the first attempt
  const auto events = read_text(event_files("run").front());
  EXPECT_THAT(events,
              AllOf(HasSubstr("brain.Event:2"), HasSubstr("_hparams_/session_start_info"), HasSubstr("deny.mode")));
  std::size_t with_loss = 0, with_accuracy = 0;
  for (const auto& line : metrics("run")) {
    with_loss += line.contains("loss") ? 1 : 0;
    with_accuracy += line.contains("correct_key") ? 1 : 0;
  }
  EXPECT_GT(with_loss, 0U);
  EXPECT_EQ(occurrences(events, "\x04loss"), with_loss);  // the tag behind its length
  EXPECT_EQ(occurrences(events,
                        "\x19"
                        "correct_key.accuracy.mean"),
            with_accuracy);
}

TEST_F(Tracked, EventFilesThatCannotBeWrittenAreOneWarning) {
  std::filesystem::create_directories(folder / "run");
  std::ofstream(folder / "run/tensorboard") << "in the way";
  const auto outcome = run(train(1, "run", {"train.epochs=1", "run.tensorboard=true"}), folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(occurrences(outcome.err, "TensorBoard"), 1U) << outcome.err;
  EXPECT_TRUE(std::filesystem::exists(folder / "run/result.json"));
}

}  // namespace
}  // namespace spankey::test::tracking_test
