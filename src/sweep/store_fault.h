// What a machine's fault (a full disk, an input/output error) does to a sweep: it is no trial's failure.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "record/ledger.h"

namespace spankey {

// The entry of a failed attempt that says nothing about its trial: `outcome` waiting again, with what the machine could
// not do as the reason. Nothing where the failure is the trial's own: `store` can be written to and the trial's last
// words tell of nothing else. An input/output error that has met a trial three times counts as its own: its data may
// lie on a bad disk.
std::optional<TrialEntry> without_machine_fault(const std::filesystem::path& store, const TrialEntry& before,
                                                const TrialEntry& outcome);

// A worker that cannot write where the trials are starts nothing for a while: 10 s (SPANKEY_PAUSE_SECONDS), then twice
// as long each time.
class StorePauses {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int most_pauses = 5;

  StorePauses();

  // Logs `reason` and the pause that follows. Error(run_failed) with the reason after the last pause.
  void met(const std::string& reason);
  // A trial is done: it was passing.
  void over() { pauses_ = 0; }
  bool pausing() const { return Clock::now() < until_; }

 private:
  std::chrono::duration<double> first_;
  int pauses_ = 0;
  Clock::time_point until_{};
};

}  // namespace spankey
