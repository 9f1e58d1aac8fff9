// Shows the progress of a running sweep to a person.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "record/ledger.h"
#include "sweep/trial_queue.h"

namespace spankey {

class SweepProgress {
 public:
  // With `redraw`, the line of show() replaces itself on a terminal (not under mpirun, which mixes several processes).
  explicit SweepProgress(bool redraw = true);
  // With -q there is but the summary, and a line for each trial that has failed.
  //
  // Prints one line such as "[12/36 done, 1 failed, 2 running, 21 waiting; about 14 min left]".
  void show(const TrialQueue& queue, int running);
  // Prints a line that is not replaced.
  void ended(const PlannedTrial& trial, const TrialEntry& entry, double seconds, const std::filesystem::path& log);
  void note(const std::string& line);  // progress as well
  void summary(const TrialQueue& queue);

 private:
  double seconds_left(const TrialQueue& queue) const;
  void print(const std::string& line);

  bool redraws_, quiet_;
  bool line_open_ = false;
  double planned_seconds_ended_ = 0.0;  // estimated seconds of the trials that have ended here
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now(), shown_{};
};

}  // namespace spankey
