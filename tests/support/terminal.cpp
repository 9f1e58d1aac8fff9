#include "support/terminal.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>

namespace spankey::test {
namespace {

constexpr int patience_ms = 60'000;

winsize size_of(int columns) {
  winsize size{};
  size.ws_col = static_cast<unsigned short>(columns);
  size.ws_row = 24;
  return size;
}

}  // namespace

OnTerminal::OnTerminal(const std::vector<std::string>& command, const std::filesystem::path& folder, int columns,
                       const std::vector<std::string>& variables) {
  std::vector<std::string> words{"env", "-u", "NO_COLOR", "-u", "COLUMNS", "TERM=xterm"};
  words.insert(words.end(), variables.begin(), variables.end());
  words.insert(words.end(), command.begin(), command.end());
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const auto size = size_of(columns);
  pid_ = forkpty(&master_, nullptr, nullptr, &size);
  if (pid_ != 0) return;
  if (chdir(folder.c_str()) == 0) execvp(arguments[0], arguments.data());
  _exit(127);
}

OnTerminal::~OnTerminal() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(master_);
}

bool OnTerminal::read_some() {
  char part[4096];
  pollfd ready{.fd = master_, .events = POLLIN, .revents = 0};
  if (poll(&ready, 1, patience_ms) != 1) return false;
  const auto count = read(master_, part, sizeof part);  // EIO once the last process has closed the terminal
  if (count > 0) said.append(part, static_cast<std::size_t>(count));
  return count > 0;
}

bool OnTerminal::read_until(const std::string& text) {
  while (said.find(text) == std::string::npos)
    if (!read_some()) return false;
  return true;
}

const std::string& OnTerminal::read_all() {
  while (read_some()) {
  }
  return said;
}

int OnTerminal::exit_code() {
  read_all();
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void OnTerminal::type(const std::string& keys) const {
  EXPECT_EQ(write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

void OnTerminal::resize(int columns) const {
  const auto size = size_of(columns);
  EXPECT_EQ(ioctl(master_, TIOCSWINSZ, &size), 0);
}

bool OnTerminal::echoes() const {
  termios settings{};
  return tcgetattr(master_, &settings) == 0 && (settings.c_lflag & ECHO) != 0;
}

}  // namespace spankey::test
