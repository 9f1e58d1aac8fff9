// What a person sees of a sweep that runs.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "sweep/ledger.h"
#include "sweep/trial_queue.h"

namespace spankey {

class SweepProgress {
 public:
  // `redraw`: on a terminal the line of show() replaces itself (not under mpirun, which mixes several processes).
  explicit SweepProgress(bool redraw = true);
  // One line: "[12/36 done, 1 failed, 2 running, 21 waiting; about 14 min left]".
  void show(const TrialQueue& queue, int running);
  // A line that stays.
  void ended(const PlannedTrial& trial, const TrialEntry& entry, double seconds, const std::filesystem::path& log);
  void note(const std::string& line);
  void summary(const TrialQueue& queue);

 private:
  double seconds_left(const TrialQueue& queue) const;

  bool redraws_;
  bool line_open_ = false;
  double planned_seconds_ended_ = 0.0;  // by the estimates, of what has ended here
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now(), shown_{};
};

}  // namespace spankey
