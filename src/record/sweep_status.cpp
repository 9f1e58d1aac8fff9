#include "record/sweep_status.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>
#include <vector>

#include "record/halving.h"

namespace spankey {

std::string unlisted_text(std::size_t total) {
  return total > most_trials_listed ? fmt::format("  ... and {} more\n", total - most_trials_listed) : std::string();
}

nlohmann::json to_json(const SweepCounts& counts) {
  nlohmann::json json{{"trials", counts.trials},
                      {"done", counts.done},
                      {"running", counts.running},
                      {"failed", counts.failed},
                      {"waiting", counts.waiting}};
  if (counts.stopped > 0) json["stopped"] = counts.stopped;
  return json;
}

namespace {

std::string attack_progress(const PlannedTrial& trial, const Ledger& ledger) {
  const auto units = trial.attack.empty() ? 0 : ledger.attack_units(trial.id);
  return units > 0 ? fmt::format(", {} units of its attack done", units) : std::string();
}

}  // namespace

std::string status_text(const SweepPlan& plan, const Ledger& ledger, bool json) {
  SweepCounts counts;
  std::vector<std::string> running, failed, stopped, early;
  const auto entries = ledger.read_all(plan);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& trial = plan.trials[i];
    const auto& entry = entries[i];
    counts.add(entry.state);
    if (json) continue;
    if (entry.state == TrialState::running)
      running.push_back(fmt::format("  {} ({}): attempt {}, checkpoint at step {}{}\n", trial.id, trial.label,
                                    entry.attempts, std::max<std::int64_t>(0, ledger.checkpoint_step(trial.id)),
                                    attack_progress(trial, ledger)));
    if (entry.state == TrialState::failed)
      failed.push_back(fmt::format("  {} ({}): exit code {}: {}\n    log: {}\n", trial.id, trial.label, entry.exit_code,
                                   entry.reason, ledger.output_log(trial.id).string()));
    if (entry.state == TrialState::done && !entry.reason.empty())
      early.push_back(fmt::format("  {} ({}): {}\n", trial.id, trial.label, entry.reason));
    if (entry.state == TrialState::stopped)
      stopped.push_back(fmt::format("  {} ({}): {}\n", trial.id, trial.label, entry.reason));
  }
  if (json) return to_json(counts).dump() + "\n";
  std::string text = fmt::format("{}: {} trials: {} done, {} running, {} failed, {} waiting", plan.name, counts.trials,
                                 counts.done, counts.running, counts.failed, counts.waiting);
  text += counts.stopped > 0 ? fmt::format(", {} stopped\n", counts.stopped) : "\n";
  if (plan.halving) {
    Halving halving(plan);
    halving.refresh();
    text += halving.text() + "\n";
  }
  for (const auto& [title, lines] : {std::pair("running", &running), std::pair("failed", &failed),
                                     std::pair("stopped by halving", &stopped), std::pair("done early", &early)}) {
    if (lines->empty()) continue;
    text += fmt::format("{}:\n", title);
    for (std::size_t i = 0; i < std::min(lines->size(), most_trials_listed); ++i) text += (*lines)[i];
    text += unlisted_text(lines->size());
  }
  return text;
}

}  // namespace spankey
