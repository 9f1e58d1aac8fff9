// A passphrase that is typed at a terminal: it is asked for, and not shown.
#include "support/terminal.h"

#include <gmock/gmock.h>

#include "gated_files.h"
#include "support/program.h"

namespace spankey::test::terminal_test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* typed = "open sesame";

class AtATerminal : public GatedFiles {
 protected:
  void SetUp() override {
    GatedFiles::SetUp();
    const auto passphrase = SecretBytes::copy_of(std::as_bytes(std::span(std::string_view(typed))));
    write_key("closed.skk", [](UserKey&) {}, nullptr,
              {.passphrase = &passphrase, .cost = {.passes = 1, .memory_bytes = 8192}});
  }

  OnTerminal run_on_terminal(const std::string& command) const { return {{"sh", "-c", command}, folder.path()}; }

  const std::string predict = "SPANKEY_CORES=1 exec " + program() +
                              " predict model.skm --key closed.skk --images builtin:glyphs --json >answers 2>messages";
};

TEST_F(AtATerminal, ThePassphraseIsAskedForAndNotShown) {
  auto terminal = run_on_terminal(predict);
  ASSERT_TRUE(terminal.read_until("Passphrase of closed.skk: ")) << terminal.read_all();
  EXPECT_FALSE(terminal.echoes());
  terminal.type(std::string(typed) + "\n");
  EXPECT_THAT(terminal.read_all(), Not(HasSubstr("sesame")));
  EXPECT_TRUE(terminal.echoes());
  EXPECT_EQ(terminal.exit_code(), 0) << read_text(folder / "messages");
  EXPECT_THAT(read_text(folder / "answers"), HasSubstr("\"index\":1023"));
  EXPECT_THAT(read_text(folder / "messages"), Not(HasSubstr("sesame")));
}

// Control: whoever does not take the echo away shows what is typed.
TEST_F(AtATerminal, OtherProgramsShowWhatIsTyped) {
  auto terminal =
      run_on_terminal("echo ready >/dev/tty; read line </dev/tty; test \"$line\" = '" + std::string(typed) + "'");
  ASSERT_TRUE(terminal.read_until("ready"));
  terminal.type(std::string(typed) + "\n");
  EXPECT_THAT(terminal.read_all(), HasSubstr(typed));
  EXPECT_EQ(terminal.exit_code(), 0);
}

TEST_F(AtATerminal, AWrongPassphraseIsRefusedAndTheEchoComesBack) {
  auto terminal = run_on_terminal(predict);
  ASSERT_TRUE(terminal.read_until("Passphrase of closed.skk: "));
  terminal.type("open barley\n");
  EXPECT_THAT(terminal.read_all(), Not(HasSubstr("barley")));
  EXPECT_TRUE(terminal.echoes());
  EXPECT_EQ(terminal.exit_code(), 2);
  EXPECT_THAT(read_text(folder / "messages"), HasSubstr("closed.skk: "));
}

TEST_F(AtATerminal, AnInterruptAtThePromptBringsTheEchoBack) {
  auto terminal = run_on_terminal(predict);
  ASSERT_TRUE(terminal.read_until("Passphrase of closed.skk: "));
  terminal.press_interrupt();
  terminal.read_all();
  EXPECT_TRUE(terminal.echoes());
  EXPECT_NE(terminal.exit_code(), 0);
  EXPECT_EQ(read_text(folder / "answers"), "");
}

}  // namespace
}  // namespace spankey::test::terminal_test
