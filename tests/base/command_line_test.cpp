#include "base/command_line.h"

#include "support/expect_error.h"

namespace spankey::command_line_test {
namespace {

void remember(std::vector<const char*> words) {
  words.insert(words.begin(), "spankey");
  command_line::remember(static_cast<int>(words.size()), words.data());
}

TEST(CommandLine, KeepsTheWordsAfterTheName) {
  remember({"train", "caf\xC3\xA9.toml", "run.name=", "--keys=3"});
  EXPECT_EQ(command_line::words(), (std::vector<std::string>{"train", "caf\xC3\xA9.toml", "run.name=", "--keys=3"}));
}

TEST(CommandLine, AShellReadsTheTextBack) {
  remember({"train", "c.toml", "run.name=two words"});
  EXPECT_EQ(command_line::text(), "spankey train c.toml 'run.name=two words'");
}

TEST(CommandLine, AnEmptyWordIsNamedByItsFlagOrPlace) {
  EXPECT_ERROR(remember({"data", "--out", ""}), ExitCode::bad_input, testing::StartsWith("--out: empty"));
  EXPECT_ERROR(remember({"data", "--out="}), ExitCode::bad_input, testing::StartsWith("--out: empty"));
  EXPECT_ERROR(remember({"eval", ""}), ExitCode::bad_input, testing::StartsWith("argument 2: empty"));
}

TEST(CommandLine, OtherTextThanUtf8IsRefused) {
  EXPECT_ERROR(remember({"train", "c.toml", "run.name=caf\xE9"}), ExitCode::bad_input,
               testing::StartsWith("argument 3 'run.name=caf\\xE9': not UTF-8"));
  EXPECT_ERROR(remember({"train", "c.toml", "--run-dir", "\xE9"}), ExitCode::bad_input,
               testing::StartsWith("--run-dir '\\xE9': not UTF-8"));
}

}  // namespace
}  // namespace spankey::command_line_test
