// How a sweep handles a fault of the machine (a full disk, an input/output error), which is not a failure of the trial.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "record/ledger.h"

namespace spankey {

// Returns `outcome` as waiting again, with the machine's fault as the reason, if the failure says nothing about the
// trial. Returns nullopt where the failure is the trial's own, because `store` can be written to and the trial's last
// words mention no fault of the machine. An input/output error that has met a trial three times counts as its own,
// since its data may be on a bad disk.
std::optional<TrialEntry> without_machine_fault(const std::filesystem::path& store, const TrialEntry& before,
                                                const TrialEntry& outcome);

// A worker that cannot write to the store starts no trial for a while. The pause is 10 s (SPANKEY_PAUSE_SECONDS), then
// twice as long each time.
class StorePauses {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int most_pauses = 5;

  StorePauses();

  // Logs `reason` and the pause that follows. Throws Error(run_failed) with the reason after the last pause.
  void met(const std::string& reason);
  // Call this when a trial is done, which shows that the fault has passed.
  void over() { pauses_ = 0; }
  bool pausing() const { return Clock::now() < until_; }

 private:
  std::chrono::duration<double> first_;
  int pauses_ = 0;
  Clock::time_point until_{};
};

}  // namespace spankey
