// Decides when a run has to stop before its end. It stops on request (a signal, the file STOP), after
// train.max_seconds, and in time before the batch system ends the job.
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
  // The time of the attempt counts from here. `max_seconds` is train.max_seconds, 0 for no limit.
  explicit StopWatch(double max_seconds) : max_seconds_(max_seconds) {}

  // Call this on rank 0, which alone looks at the lease and at the clocks. `lease` is kept as a reference.
  // `save_seconds` returns how long the last save took.
  void watch(const Lease& lease, std::function<double()> save_seconds);

  // True where this rank wants to stop now. It is called in the middle of steps, so it touches no file and uses what
  // the lease's own thread has seen. Throws as Lease::check() does.
  bool asked_to_stop();

  // True where asked_to_stop() is, or train.max_seconds have passed. An evaluation asks only the former, because one
  // that is begun again each time might never fit into train.max_seconds.
  bool should_stop();

  // Does the same as asked_to_stop(), in the form of StopRounds::Wish. Returns the signal by which this rank stops, or
  // 0.
  int stop_signal();

  // Estimates the seconds of `left` steps from the pace of the `done` steps of this attempt. Returns 0 before the first
  // step.
  double seconds_left(std::int64_t done, std::int64_t left) const;

 private:
  using Clock = std::chrono::steady_clock;

  bool job_ends_soon(Clock::time_point now);
  double elapsed_seconds() const;

  double max_seconds_;
  Clock::time_point started_ = Clock::now();
  Clock::time_point clock_read_ = started_;
  std::chrono::duration<double> longest_gap_{0};  // between two looks at the job clock (steps, evaluations, saves)

  // Only rank 0 has these.
  const Lease* lease_ = nullptr;
  std::function<double()> save_seconds_;
  std::optional<JobClock> job_clock_;
};

}  // namespace spankey
