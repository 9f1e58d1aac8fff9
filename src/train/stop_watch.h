// When a run has to stop before its end: on request (a signal, the file STOP), after train.max_seconds, and in time
// before the batch system ends the job.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/job_clock.h"
#include "base/lease.h"

namespace spankey {

class StopWatch {
 public:
  // The time of the attempt counts from here. `max_seconds` as train.max_seconds; 0: no limit.
  explicit StopWatch(double max_seconds) : max_seconds_(max_seconds) {}

  // For rank 0, which alone looks at the lease and at the clocks. `lease` is kept as a reference; `save_seconds` says
  // how long the last save took.
  void watch(const Lease& lease, std::function<double()> save_seconds);

  // Whether this rank wants to stop now. Asked in the middle of steps: no file is touched, only what the lease's own
  // thread has seen. Throws as Lease::check() does.
  bool asked_to_stop();

  // The same, or train.max_seconds have passed. An evaluation that is begun again each time might never fit into these.
  bool should_stop();

  // asked_to_stop() as StopRounds wants it: the signal by which this rank stops, or 0.
  int stop_signal();

  // An estimate from the pace so far, for `done` steps of this attempt and `left` to come; 0 before the first.
  double seconds_left(std::int64_t done, std::int64_t left) const;

 private:
  using Clock = std::chrono::steady_clock;

  bool job_ends_soon(Clock::time_point now);
  double elapsed_seconds() const;

  double max_seconds_;
  Clock::time_point started_ = Clock::now();
  Clock::time_point clock_read_ = started_;
  std::chrono::duration<double> longest_gap_{0};  // between two looks at the job clock: steps, evaluations, saves

  // Of rank 0.
  const Lease* lease_ = nullptr;
  std::function<double()> save_seconds_;
  std::optional<JobClock> job_clock_;
};

}  // namespace spankey
