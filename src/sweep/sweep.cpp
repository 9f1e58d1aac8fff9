#include "sweep/sweep.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>

#include "base/file.h"
#include "base/text.h"
#include "sweep/attempt.h"

namespace spankey {
namespace {

constexpr std::size_t most_listed = 200;

std::string more_text(std::size_t total) {
  return total > most_listed ? fmt::format("  ... and {} more\n", total - most_listed) : std::string();
}

nlohmann::json counts_json(const SweepCounts& counts) {
  return {{"trials", counts.trials},
          {"done", counts.done},
          {"running", counts.running},
          {"failed", counts.failed},
          {"waiting", counts.waiting}};
}

}  // namespace

std::string merged_text(const SweepPlan& plan) {
  if (plan.merged.empty()) return {};
  return fmt::format("{} combinations, {} trials: {}\n", plan.combinations, plan.trials.size(),
                     fmt::join(plan.merged, "; "));
}

std::int64_t reopen_failed(const SweepPlan& plan, Ledger& ledger, RetryFailed which) {
  std::int64_t reopened = 0;
  if (which == RetryFailed::none) return reopened;
  const auto entries = ledger.read_all(plan);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& trial = plan.trials[i];
    const auto& before = entries[i];
    if (before.state != TrialState::failed || (which == RetryFailed::crashed && !before.crashed())) continue;
    auto claim = ledger.claim_any(trial.id);
    if (!claim || claim->entry().state != TrialState::failed) continue;
    auto entry = claim->entry();
    entry.state = TrialState::waiting;
    entry.idle_attempts = 0;
    if (claim->write(entry)) ++reopened;
  }
  return reopened;
}

std::string plan_text(const SweepPlan& plan, const Ledger& ledger, bool json) {
  SweepCounts counts;
  double left = 0.0;
  const auto states = ledger.read_states(plan);
  for (std::size_t i = 0; i < states.size(); ++i) {
    counts.add(states[i]);
    if (states[i] != TrialState::done) left += plan.trials[i].seconds;
  }
  if (json) {
    auto object = counts_json(counts);
    object["combinations"] = plan.combinations;
    object["merged"] = plan.merged;
    object["estimated_seconds_left"] = left;
    object["estimate"] = plan.cost_source;
    object["notes"] = plan.notes;
    auto& trials = object["plan"] = nlohmann::json::array();
    for (const auto& trial : plan.trials)
      trials.push_back({{"id", trial.id}, {"settings", trial.label}, {"estimated_seconds", trial.seconds}});
    return object.dump(2) + "\n";
  }
  std::string text = fmt::format("{:<16}  {:>10}  {}\n", "trial", "estimate", "settings");
  for (std::size_t i = 0; i < std::min(plan.trials.size(), most_listed); ++i) {
    const auto& trial = plan.trials[i];
    text += fmt::format("{}  {:>10}  {}\n", trial.id, duration_text(trial.seconds), trial.label);
  }
  text += more_text(plan.trials.size());
  text += merged_text(plan);
  text +=
      fmt::format("{}: {} trials, {} of them done; about {} on one process for the rest ({})\nstore: {}\n", plan.name,
                  counts.trials, counts.done, duration_text(left), plan.cost_source, plan.store.string());
  for (const auto& note : plan.notes) text += fmt::format("note: {}\n", note);
  return text;
}

std::string status_text(const SweepPlan& plan, const Ledger& ledger, bool json) {
  SweepCounts counts;
  std::vector<std::string> running, failed;
  const auto entries = ledger.read_all(plan);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& trial = plan.trials[i];
    const auto& entry = entries[i];
    counts.add(entry.state);
    if (json) continue;
    if (entry.state == TrialState::running)
      running.push_back(fmt::format("  {} ({}): attempt {}, checkpoint at step {}\n", trial.id, trial.label,
                                    entry.attempts, std::max<std::int64_t>(0, ledger.checkpoint_step(trial.id))));
    if (entry.state == TrialState::failed)
      failed.push_back(fmt::format("  {} ({}): exit code {}: {}\n    log: {}\n", trial.id, trial.label, entry.exit_code,
                                   entry.reason, ledger.output_log(trial.id).string()));
  }
  if (json) return counts_json(counts).dump() + "\n";
  std::string text = fmt::format("{}: {} trials: {} done, {} running, {} failed, {} waiting\n", plan.name,
                                 counts.trials, counts.done, counts.running, counts.failed, counts.waiting);
  for (const auto& [title, lines] : {std::pair("running", &running), std::pair("failed", &failed)}) {
    if (lines->empty()) continue;
    text += fmt::format("{}:\n", title);
    for (std::size_t i = 0; i < std::min(lines->size(), most_listed); ++i) text += (*lines)[i];
    text += more_text(lines->size());
  }
  return text;
}

std::int64_t cancel_sweep(const SweepPlan& plan, const Ledger& ledger, const std::filesystem::path& directory) {
  write_durably(cancel_marker(directory), "stop\n");
  std::int64_t running = 0;
  const auto states = ledger.read_states(plan);
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (states[i] != TrialState::running) continue;
    write_durably(ledger.run_directory(plan.trials[i].id).stop_marker(), "stop\n");
    ++running;
  }
  return running;
}

}  // namespace spankey
