#include "base/shutdown.h"

#include <atomic>
#include <csignal>

namespace spankey::shutdown {

namespace {

std::atomic<int> first_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch it");

void remember(int signal) {
  int none = 0;
  first_signal.compare_exchange_strong(none, signal);
}

}  // namespace

void install_handlers() {
  struct sigaction action {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART;  // reads and writes under way go on
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR2}) sigaction(signal, &action, nullptr);
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
