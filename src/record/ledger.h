// The state of the trials of a store, kept in files, so that no process has to stay alive for a sweep to go on.
//
// A trial is the run directory STORE/<id>. Its sub-folder `sweep` holds what the sweep knows of it.
//
//   state.json    attempts, outcome and progress, written by the holder of the lease. Without it nobody has begun.
//   lease         who runs the trial now (base/lease.h). It is created exclusively and renewed. Another worker takes it
//                 over when its owner dies.
//   config.toml   the resolved configuration that is trained
//
// STORE/<id>/log/output.log holds what its attempts printed. Sweeps that share a store share all of this, so that the
// same trial is never run twice.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/lease.h"
#include "record/run_directory.h"
#include "record/sweep_plan.h"

namespace spankey {

// A trial is `stopped` where halving has decided that it does not go on (record/halving.h). The ledger's own files call
// such a trial waiting, since another sweep of the store may train it.
enum class TrialState { waiting, running, done, failed, stopped };
std::string to_string(TrialState state);

struct TrialEntry {
  TrialState state = TrialState::waiting;
  std::int64_t attempts = 0;
  std::int64_t idle_attempts = 0;  // the number of last attempts that made no progress
  std::int64_t step = -1;          // step of the newest checkpoint, -1 without one
  int exit_code = 0;               // of the last attempt
  std::string reason;              // of a failure, of halving, or of an end before the last epoch
  double seconds = 0.0;            // of all attempts
  std::int64_t units = 0;          // of its attack that are done
  std::string attack;              // options of the attack that was done, empty before that

  // True where a signal ended it, or mpirun after a signal (1), so that the trial itself is not the cause.
  bool crashed() const { return state == TrialState::failed && (exit_code == 1 || exit_code >= 128); }
};

// Under `none` every claim succeeds. Only tests use it, to show what leases are for.
enum class Claims { exclusive, none };

class Ledger;

// The right to run one trial, for as long as the object lives.
class TrialClaim {
 public:
  const TrialEntry& entry() const { return entry_; }
  // Writes the new entry of the trial. Returns false, and writes nothing, where another worker has taken the trial
  // meanwhile.
  bool write(const TrialEntry& entry);

 private:
  friend class Ledger;
  std::filesystem::path folder_;
  TrialEntry entry_;
  std::unique_ptr<Lease> lease_;
};

class Ledger {
 public:
  explicit Ledger(std::filesystem::path store, Claims claims = Claims::exclusive);

  RunDirectory run_directory(const std::string& id) const;
  std::filesystem::path output_log(const std::string& id) const;
  std::filesystem::path config_file(const std::string& id) const;

  // Reads the entry from files, without changing any. A damaged or unreadable entry reads as waiting.
  TrialEntry read(const std::string& id) const;
  // Reads every trial, in order, as claim() sees it, and what the halving of the plan has stopped. One listing of the
  // store answers for the trials that nobody has begun.
  std::vector<TrialEntry> read_all(const SweepPlan& plan) const;
  std::vector<TrialState> read_states(const SweepPlan& plan) const;

  // Claims a trial. Returns nullopt where it is finished, has failed, or is run by a process that may be alive, and
  // `seen` says which. A trial that was done before an attack became part of it is waiting again. A damaged entry is
  // renamed to state.json.damaged (one line says so) and the trial starts anew. If the run directory holds the result
  // of this trial, it becomes done without being run, unless an attack is part of it. Throws an Error where the files
  // cannot be read or written.
  std::optional<TrialClaim> claim(const PlannedTrial& trial, TrialState* seen = nullptr);

  // Claims a trial in any state, to try a failed one again.
  std::optional<TrialClaim> claim_any(const std::string& id);

  // Global step of the newest checkpoint, -1 without one.
  std::int64_t checkpoint_step(const std::string& id) const;

  // True where result.json of the run directory belongs to this trial.
  bool has_result(const PlannedTrial& trial) const;
  // Returns why the trial ended before its last epoch, from its result.json. Empty where it did not.
  std::string stopped_early(const std::string& id) const;

  // The file that asks the trial to stop. It is read by what the trial does now, its training or its attack.
  std::filesystem::path stop_marker(const PlannedTrial& trial) const;

  // Number of units of its attack that are done.
  std::int64_t attack_units(const std::string& id) const;

 private:
  std::filesystem::path folder(const std::string& id) const;

  std::filesystem::path store_;
  Claims claims_;
  std::shared_ptr<LeaseObserver> leases_ = std::make_shared<LeaseObserver>();  // remembers what it saw
};

struct SweepCounts {
  std::int64_t trials = 0, done = 0, running = 0, failed = 0, waiting = 0, stopped = 0;
  void add(TrialState state);
};

SweepCounts count_trials(const SweepPlan& plan, const Ledger& ledger);

}  // namespace spankey
