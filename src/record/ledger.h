// The state of the trials of a store, in files: nothing else has to be alive for it to be known or to go on.
//
// A trial is the run directory STORE/<id>. What the sweep knows of it lies in its folder `sweep`:
//
//   state.json    attempts, outcome and progress, written by the holder of the lease. Without it nobody has begun.
//   lease         who runs it now (base/lease.h). It is created exclusively, renewed, and taken over when its owner
//   dies. config.toml   the resolved configuration that is trained
//
// and STORE/<id>/log/output.log holds what its attempts printed. Sweeps that share a store share all of this, so the
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

enum class TrialState { waiting, running, done, failed };

struct TrialEntry {
  TrialState state = TrialState::waiting;
  std::int64_t attempts = 0;
  std::int64_t idle_attempts = 0;  // the last ones, that ended without having come further
  std::int64_t step = -1;          // of the newest checkpoint; -1: none
  int exit_code = 0;               // of the last attempt
  std::string reason;              // of a failure
  double seconds = 0.0;            // of all attempts

  // Ended by a signal, or by mpirun after one (1): not by what the trial is.
  bool crashed() const { return state == TrialState::failed && (exit_code == 1 || exit_code >= 128); }
};

// `none`: every claim succeeds. Only for tests, which show with it what leases are for.
enum class Claims { exclusive, none };

class Ledger;

// The right to run one trial, for as long as the object lives.
class TrialClaim {
 public:
  const TrialEntry& entry() const { return entry_; }
  // Writes what has become of the trial. False where another worker has taken it meanwhile: nothing is written then.
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

  // From files alone, without changing any: an entry that is damaged or cannot be read now reads as waiting.
  TrialEntry read(const std::string& id) const;
  // The same of every trial, in order; one listing of the store stands for those that nobody has begun.
  std::vector<TrialEntry> read_all(const SweepPlan& plan) const;
  std::vector<TrialState> read_states(const SweepPlan& plan) const;

  // Nothing where the trial is finished, has failed, or is being run by a process that may be alive; `seen` says which.
  // A damaged entry is kept aside as state.json.damaged (one line says so) and the trial begun anew. A run directory
  // that holds the result of this trial makes it done without being run. Error where the files cannot be read or
  // written.
  std::optional<TrialClaim> claim(const PlannedTrial& trial, TrialState* seen = nullptr);

  // The same, for a trial in any state: to try a failed one again.
  std::optional<TrialClaim> claim_any(const std::string& id);

  // Global step of the newest checkpoint, -1 without one.
  std::int64_t checkpoint_step(const std::string& id) const;

  // True where result.json of the run directory belongs to this trial.
  bool has_result(const PlannedTrial& trial) const;

 private:
  std::filesystem::path folder(const std::string& id) const;

  std::filesystem::path store_;
  Claims claims_;
  std::shared_ptr<LeaseObserver> leases_ = std::make_shared<LeaseObserver>();  // remembers what it saw of them
};

struct SweepCounts {
  std::int64_t trials = 0, done = 0, running = 0, failed = 0, waiting = 0;
  void add(TrialState state);
};

SweepCounts count_trials(const SweepPlan& plan, const Ledger& ledger);

}  // namespace spankey
