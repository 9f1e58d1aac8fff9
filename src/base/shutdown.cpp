#include "base/shutdown.h"

#include <array>
#include <atomic>
#include <initializer_list>

namespace spankey::shutdown {

namespace {

std::atomic<int> first_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch it");

constexpr std::array failed_writes{SIGPIPE, SIGXFSZ};

void remember(int signal) {
  int none = 0;
  first_signal.compare_exchange_strong(none, signal);
}

bool is_ignored(int signal) {
  struct sigaction now {};
  return sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

}  // namespace

void install_handlers() {
  // The state with which this process was started. It is read once, before a library may have changed it.
  static const bool hangup_ignored = is_ignored(SIGHUP);
  struct sigaction action {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART;  // calls that a signal interrupts are restarted
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGXCPU}) sigaction(signal, &action, nullptr);
  if (!hangup_ignored) sigaction(SIGHUP, &action, nullptr);
  ignore_failed_writes();
}

void ignore_failed_writes() {
  struct sigaction action {};
  action.sa_handler = SIG_IGN;
  sigemptyset(&action.sa_mask);
  for (const int signal : failed_writes) sigaction(signal, &action, nullptr);
}

sigset_t ignored_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : failed_writes) sigaddset(&signals, signal);
  return signals;
}

bool requested() {
  return first_signal.load() != 0;
}

int signal_number() {
  return first_signal.load();
}

void request() {
  remember(SIGUSR2);
}

void clear() {
  first_signal.store(0);
}

}  // namespace spankey::shutdown
