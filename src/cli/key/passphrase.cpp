#include "cli/key/passphrase.h"

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/descriptor.h"
#include "base/error.h"
#include "keyring/secret_file.h"

namespace spankey::cli {
namespace {

volatile std::sig_atomic_t interrupted_by = 0;

void note_signal(int number) {
  interrupted_by = number;
}

// A terminal that does not show what is typed, for as long as the object lives. Signals that would end the program
// wait until it shows it again.
class SilentTerminal {
 public:
  explicit SilentTerminal(int terminal) : terminal_(terminal) {
    interrupted_by = 0;
    struct sigaction action {};
    action.sa_handler = note_signal;  // without SA_RESTART, so that read() returns
    for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &action, &before_[i]);
    silent_ = tcgetattr(terminal_, &shown_) == 0;
    auto hidden = shown_;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    if (silent_) silent_ = tcsetattr(terminal_, TCSAFLUSH, &hidden) == 0;
  }
  ~SilentTerminal() {
    if (silent_) tcsetattr(terminal_, TCSAFLUSH, &shown_);
    for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &before_[i], nullptr);
    if (interrupted_by != 0) raise(interrupted_by);
  }
  SilentTerminal(const SilentTerminal&) = delete;
  SilentTerminal& operator=(const SilentTerminal&) = delete;

  bool silent() const { return silent_; }

 private:
  static constexpr std::array signals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
  int terminal_;
  bool silent_ = false;
  termios shown_{};
  std::array<struct sigaction, signals.size()> before_{};
};

// Returns once there is something to read. A signal that comes just before read() does not interrupt it, so that it is
// looked for several times a second.
void wait_for_input(int descriptor) {
  constexpr int patience_ms = 100;
  while (interrupted_by == 0) {
    pollfd waiting{.fd = descriptor, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waiting, 1, patience_ms);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return;  // read() will tell
  }
  fail_input("no passphrase: interrupted");
}

// Everything up to a line break or the end.
SecretBytes read_line(int descriptor, const std::string& where) {
  SecretBytes line(most_passphrase_bytes + 1);
  std::size_t size = 0;
  while (size < line.size()) {
    wait_for_input(descriptor);
    const ssize_t count = ::read(descriptor, line.bytes().data() + size, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EBADF)
      fail_input("cannot read the passphrase from {}: it is not open; accepted: an open descriptor", where);
    if (count < 0) fail_system(errno, "cannot read the passphrase from {}", where);
    if (count == 0 || line.bytes()[size] == std::byte{'\n'}) break;
    ++size;
  }
  if (size > 0 && line.bytes()[size - 1] == std::byte{'\r'}) --size;
  if (size > most_passphrase_bytes)
    fail_input("the passphrase from {} is too long; accepted: up to {} bytes", where, most_passphrase_bytes);
  if (size == 0) fail_input("the passphrase from {} is empty", where);
  line.shorten(size);
  return line;
}

SecretBytes ask_terminal(const std::string& question, const PassphraseSource& source) {
  const Descriptor terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal.valid())
    fail_input("no passphrase, and no terminal to ask for it; accepted: {} FILE or {} N", source.file_flag,
               source.descriptor_flag);
  const auto say = [&](const std::string& text) {
    if (::write(terminal.get(), text.data(), text.size()) < 0) fail_system(errno, "cannot ask for the passphrase");
  };
  const SilentTerminal silence(terminal.get());
  if (!silence.silent()) fail_input("this terminal would show the passphrase; accepted: {} FILE", source.file_flag);
  say(question + ": ");
  auto line = read_line(terminal.get(), "the terminal");
  say("\n");
  return line;
}

bool from_terminal(const PassphraseSource& source) {
  return source.file.empty() && source.descriptor < 0;
}

SecretBytes read_given(const PassphraseSource& source) {
  if (!source.file.empty() && source.descriptor >= 0)
    fail_input("{} and {} are both given; accepted: one of them", source.file_flag, source.descriptor_flag);
  if (source.descriptor >= 0)
    return read_line(source.descriptor, source.descriptor_flag + " " + std::to_string(source.descriptor));
  auto content = read_secret_file(source.file, most_passphrase_bytes + 2);
  auto size = content.size();
  for (const char end : {'\n', '\r'})
    if (size > 0 && content.bytes()[size - 1] == static_cast<std::byte>(end)) --size;
  content.shorten(size);
  if (content.empty()) fail_input("{}: the passphrase is empty", source.file);
  return content;
}

}  // namespace

SecretBytes read_passphrase(const PassphraseSource& source, const std::string& whose) {
  return from_terminal(source) ? ask_terminal("Passphrase of " + whose, source) : read_given(source);
}

SecretBytes read_new_passphrase(const PassphraseSource& source, const std::string& whose) {
  auto passphrase = from_terminal(source) ? ask_terminal("New passphrase of " + whose, source) : read_given(source);
  if (passphrase.size() < least_passphrase_bytes)
    fail_input("the new passphrase has {} bytes; accepted: at least {}", passphrase.size(), least_passphrase_bytes);
  if (!from_terminal(source)) return passphrase;
  const auto again = ask_terminal("The same again", source);
  if (!same_secret(passphrase.bytes(), again.bytes())) fail_input("the two passphrases differ");
  return passphrase;
}

}  // namespace spankey::cli
