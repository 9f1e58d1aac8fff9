#include "train/stop_watch.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "base/log.h"
#include "base/shutdown.h"

namespace spankey {
namespace {

// Before the end of the job a stop leaves time for so many saves of the length of the last one, and at least so many
// seconds.
constexpr double saves_before_job_end = 3.0, seconds_before_job_end = 20.0;

}  // namespace

void StopWatch::watch(const Lease& lease, std::function<double()> save_seconds) {
  lease_ = &lease;
  save_seconds_ = std::move(save_seconds);
  job_clock_.emplace();
}

bool StopWatch::asked_to_stop() {
  if (shutdown::requested()) return true;
  if (!lease_) return false;
  lease_->check();
  return lease_->marked() || job_ends_soon(Clock::now());
}

bool StopWatch::should_stop() {
  if (asked_to_stop()) return true;
  return lease_ && max_seconds_ > 0.0 && elapsed_seconds() >= max_seconds_;
}

int StopWatch::stop_signal() {
  return asked_to_stop() ? SIGUSR2 : 0;
}

// The limit may have been raised since the clock was set, so it is read again before the run gives up.
bool StopWatch::job_ends_soon(Clock::time_point now) {
  longest_gap_ = std::max<std::chrono::duration<double>>(longest_gap_, now - clock_read_);
  clock_read_ = now;
  const double needed = longest_gap_.count() + std::max(seconds_before_job_end, saves_before_job_end * save_seconds_());
  if (job_clock_->seconds_left() > needed) return false;
  job_clock_->update();
  if (job_clock_->seconds_left() > needed) return false;
  log::info("the job ends in {:.0f} s: stopping now, to save in time", job_clock_->seconds_left());
  return true;
}

double StopWatch::elapsed_seconds() const {
  return std::chrono::duration<double>(Clock::now() - started_).count();
}

double StopWatch::seconds_left(std::int64_t done, std::int64_t left) const {
  return done > 0 ? elapsed_seconds() / static_cast<double>(done) * static_cast<double>(left) : 0.0;
}

}  // namespace spankey
