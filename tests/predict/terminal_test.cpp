// A passphrase that is typed at a terminal: it is asked for, and not shown.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "gated_files.h"
#include "support/program.h"

namespace spankey::test::terminal_test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* typed = "open sesame";

// A command that has a terminal of its own.
class Terminal {
 public:
  Terminal(const std::string& command, const std::filesystem::path& folder) {
    pid_ = forkpty(&end_, nullptr, nullptr, nullptr);
    if (pid_ != 0) return;
    if (chdir(folder.c_str()) == 0) execlp("sh", "sh", "-c", command.c_str(), nullptr);
    _exit(127);
  }
  ~Terminal() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(end_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // Reads what is shown until it has `text`, or until the command has ended.
  bool shows(const std::string& text) {
    constexpr int patience_ms = 60'000;
    while (seen_.find(text) == std::string::npos) {
      pollfd waiting{.fd = end_, .events = POLLIN, .revents = 0};
      char buffer[512];
      if (poll(&waiting, 1, patience_ms) <= 0) return false;
      const auto count = read(end_, buffer, sizeof buffer);
      if (count <= 0) return false;  // EIO once the last process has closed it
      seen_.append(buffer, static_cast<std::size_t>(count));
    }
    return true;
  }
  void type(const std::string& text) const { ASSERT_EQ(write(end_, text.data(), text.size()), std::ssize(text)); }
  void press_interrupt() const { type("\x03"); }

  bool echoes() const {
    termios settings{};
    return tcgetattr(end_, &settings) == 0 && (settings.c_lflag & ECHO) != 0;
  }
  // Everything that was shown, once the command has ended.
  const std::string& all() {
    shows("\x01 nobody shows this");
    return seen_;
  }
  int exit_code() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int end_ = -1;
  std::string seen_;
};

class AtATerminal : public GatedFiles {
 protected:
  void SetUp() override {
    GatedFiles::SetUp();
    const auto passphrase = SecretBytes::copy_of(std::as_bytes(std::span(std::string_view(typed))));
    write_key("closed.skk", [](UserKey&) {}, nullptr,
              {.passphrase = &passphrase, .cost = {.passes = 1, .memory_bytes = 8192}});
  }

  const std::string predict = "SPANKEY_CORES=1 exec " + program() +
                              " predict model.skm --key closed.skk --images builtin:glyphs --json >answers 2>messages";
};

TEST_F(AtATerminal, ThePassphraseIsAskedForAndNotShown) {
  Terminal terminal(predict, folder.path());
  ASSERT_TRUE(terminal.shows("Passphrase of closed.skk: ")) << terminal.all();
  EXPECT_FALSE(terminal.echoes());
  terminal.type(std::string(typed) + "\n");
  EXPECT_THAT(terminal.all(), Not(HasSubstr("sesame")));
  EXPECT_TRUE(terminal.echoes());
  EXPECT_EQ(terminal.exit_code(), 0) << read_text(folder / "messages");
  EXPECT_THAT(read_text(folder / "answers"), HasSubstr("\"index\":1023"));
  EXPECT_THAT(read_text(folder / "messages"), Not(HasSubstr("sesame")));
}

// Control: whoever does not take the echo away shows what is typed.
TEST_F(AtATerminal, OtherProgramsShowWhatIsTyped) {
  Terminal terminal("echo ready >/dev/tty; read line </dev/tty; test \"$line\" = '" + std::string(typed) + "'",
                    folder.path());
  ASSERT_TRUE(terminal.shows("ready"));
  terminal.type(std::string(typed) + "\n");
  EXPECT_THAT(terminal.all(), HasSubstr(typed));
  EXPECT_EQ(terminal.exit_code(), 0);
}

TEST_F(AtATerminal, AWrongPassphraseIsRefusedAndTheEchoComesBack) {
  Terminal terminal(predict, folder.path());
  ASSERT_TRUE(terminal.shows("Passphrase of closed.skk: "));
  terminal.type("open barley\n");
  EXPECT_THAT(terminal.all(), Not(HasSubstr("barley")));
  EXPECT_TRUE(terminal.echoes());
  EXPECT_EQ(terminal.exit_code(), 2);
  EXPECT_THAT(read_text(folder / "messages"), HasSubstr("closed.skk: "));
}

TEST_F(AtATerminal, AnInterruptAtThePromptBringsTheEchoBack) {
  Terminal terminal(predict, folder.path());
  ASSERT_TRUE(terminal.shows("Passphrase of closed.skk: "));
  terminal.press_interrupt();
  terminal.all();
  EXPECT_TRUE(terminal.echoes());
  EXPECT_NE(terminal.exit_code(), 0);
  EXPECT_EQ(read_text(folder / "answers"), "");
}

}  // namespace
}  // namespace spankey::test::terminal_test
