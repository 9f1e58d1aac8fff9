#include "dist/watchdog.h"

#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/log.h"

namespace spankey {
namespace {

constexpr double longest_nap_seconds = 1;
constexpr double naps_per_timeout = 20;
constexpr std::chrono::seconds patience_with_log{5};

}  // namespace

Watchdog::Watchdog(int world_rank, double timeout_seconds)
    : world_rank_(world_rank), timeout_seconds_(timeout_seconds) {
  SPANKEY_CHECK_OP(timeout_seconds, >, 0.0);
  thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  thread_.join();
}

Watchdog::Guard::Guard(Watchdog& watchdog, const Waiting& waiting) : watchdog_(watchdog) {
  const std::lock_guard lock(watchdog_.mutex_);
  entry_ = watchdog_.waiting_.insert(watchdog_.waiting_.end(), waiting);
}

Watchdog::Guard::~Guard() {
  const std::lock_guard lock(watchdog_.mutex_);
  watchdog_.waiting_.erase(entry_);
}

void Watchdog::set_place(const std::string& place) {
  const std::lock_guard lock(mutex_);
  place_ = place;
}

void Watchdog::watch() {
  const std::chrono::duration<double> nap(std::min(longest_nap_seconds, timeout_seconds_ / naps_per_timeout));
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, nap, [this] { return stop_; })) {
    const auto now = std::chrono::steady_clock::now();
    for (const auto& waiting : waiting_) {
      const double waited_seconds = std::chrono::duration<double>(now - waiting.since).count();
      if (waited_seconds > timeout_seconds_ * waiting.patience) end_process(waiting, waited_seconds);
    }
  }
}

void Watchdog::end_process(const Waiting& waiting, double waited_seconds) const {
  // The log may lie on the same file system that made a peer late: do not wait for it longer than this.
  std::thread([] {
    std::this_thread::sleep_for(patience_with_log);
    _exit(static_cast<int>(ExitCode::run_failed));
  }).detach();
  log::error(
      "rank {}: {} of {} bytes with {} ranks (as rank {}) has waited {:.1f} s, dist.timeout_seconds = {:g}, at "
      "{}:{}, {}; another rank is lost, stuck or late: giving up",
      world_rank_, waiting.operation, waiting.bytes, waiting.size, waiting.rank, waited_seconds, timeout_seconds_,
      waiting.file, waiting.line, place_);
  log::flush();
  _exit(static_cast<int>(ExitCode::run_failed));
}

}  // namespace spankey
