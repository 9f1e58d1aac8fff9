// Successive halving: which trials of a sweep go on after a rung, decided from files by whichever worker looks.
//
// A rung is the end of an epoch at which a trial pauses. The trial is measured there, and only the best ones go on. Of
// N trials the best max(1, N / factor) go on after the first rung, max(1, N / factor^2) after the second one, and so on
// (Jamieson & Talwalkar 2016). A trial goes on as soon as no other can push it out, and is stopped as soon as so many
// are better, which depends on the measured values alone and not on who looks when. Only a worker that would have
// nothing to do promotes earlier, as ASHA does (Li et al. 2020). It takes a trial among the best 1 / factor of those
// measured.
//
// D/halving/<8 digits of the rule and of its trials>/ holds a file for each event.
//   <id>-<epochs>.measured.json   {"value": NUMBER or null, "metric": TEXT, "epochs": NUMBER, "time": TEXT}
//   <id>-<epochs>.decided.json    {"decision": "promoted" or "stopped", "reason": TEXT, "time": TEXT}
// A file is written once. The first worker wins, and the others take its word.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "record/ledger.h"
#include "record/objective.h"
#include "record/sweep_plan.h"

namespace spankey {

class Halving {
 public:
  // `plan` has a halving and a directory, and must outlive this object.
  explicit Halving(const SweepPlan& plan);

  // Reads what has been written since the last call, and returns whether there was anything. A damaged file counts as
  // none.
  bool refresh();

  // The number of epochs after which a trial pauses next, 0 where it runs to its end.
  std::int64_t pause_epochs(std::size_t trial) const;
  // True where a trial has been measured at the rung at which it pauses, and nothing has been decided.
  bool is_paused(std::size_t trial) const;
  // The reason why a trial was stopped, nullptr where it was not.
  const std::string* stopped(std::size_t trial) const;
  // Rungs after which a trial has gone on.
  std::size_t rungs_passed(std::size_t trial) const { return trials_.at(trial).passed; }

  // True where a trial is attacked at each rung, because the metric has a figure of the attack.
  bool uses_attack() const { return objective_.uses_attack(); }

  // Records what the run directory of a trial that pauses after `epochs` epochs shows. Call this with the trial's
  // lease. Throws Error(bad_input) where the run has no such figure, Error(run_failed) where it has no evaluation.
  void measure(std::size_t trial, std::int64_t epochs);

  // Makes every decision that is certain, and returns a line for people on each. `states` are those of the trials.
  std::vector<std::string> decide(const std::vector<TrialState>& states);
  // Promotes the best trial that is among the best 1 / factor of those measured at its rung. Returns the line, nothing
  // where there is none.
  std::optional<std::string> promote_early(const std::vector<TrialState>& states);

  // One sentence on each rung, for people.
  std::string text() const;

 private:
  struct AtRung {
    bool measured = false, decided = false, promoted = false;
    std::optional<double> value;  // nothing counts as the worst
    std::string reason;
  };
  struct Trial {
    std::vector<AtRung> rungs;
    std::size_t passed = 0;  // promoted so often
    bool stopped = false;
  };

  void take(const std::filesystem::path& file);
  void measure_finished(const std::vector<TrialState>& states);
  void record(std::size_t trial, std::size_t rung, std::optional<double> value);
  std::string decide(std::size_t trial, std::size_t rung, bool promoted, const std::string& reason);
  bool publish(const std::filesystem::path& file, const std::string& text);
  bool is_better(std::size_t a, std::size_t b, std::size_t rung) const;
  // The measured trials of a rung, the best one first.
  std::vector<std::size_t> ranked(std::size_t rung) const;
  std::int64_t quota(std::size_t rung) const;
  std::string standing(std::size_t trial, std::size_t rung, std::size_t rank, std::size_t measured) const;

  const SweepPlan& plan_;
  const SweepHalving& rule_;
  Objective objective_;
  std::filesystem::path folder_;
  std::unordered_map<std::string, std::size_t> positions_;  // of trials, by id
  std::unordered_set<std::string> seen_;                    // names of files that have been read
  std::vector<Trial> trials_;
};

}  // namespace spankey
