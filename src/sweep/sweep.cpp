#include "sweep/sweep.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/text.h"
#include "record/sweep_status.h"
#include "sweep/attempt.h"

namespace spankey {
std::string merged_text(const SweepPlan& plan) {
  if (plan.merged.empty()) return {};
  return fmt::format("{} combinations, {} trials: {}\n", plan.combinations, plan.trials.size(),
                     fmt::join(plan.merged, "; "));
}

std::string attack_text(const SweepPlan& plan) {
  if (!plan.attack) return {};
  return fmt::format("each trial is attacked after its training: {} (vanilla twins have no key)\n",
                     fmt::join(options_of(*plan.attack), " "));
}

std::string halving_text(const SweepPlan& plan) {
  if (!plan.halving) return {};
  std::int64_t least = 0, all = 0, left = static_cast<std::int64_t>(plan.trials.size()), before = 0;
  for (const auto& trial : plan.trials) all += trial.epochs;
  for (const auto rung : plan.halving->rungs) {
    least += left * (rung - std::exchange(before, rung));
    left = std::max<std::int64_t>(1, left / plan.halving->factor);
  }
  for (std::int64_t i = 0; i < left; ++i) least += plan.trials.front().epochs - before;
  return fmt::format(
      "halving by {} ({}): pauses after {} epoch{}, 1 of {} goes on; about {} of {} epochs are trained\n",
      plan.halving->metric, goal_word(*plan.halving), fmt::join(plan.halving->rungs, ", "),
      plan.halving->rungs == std::vector<std::int64_t>{1} ? "" : "s", plan.halving->factor, least, all);
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
    auto object = to_json(counts);
    object["combinations"] = plan.combinations;
    object["merged"] = plan.merged;
    object["estimated_seconds_left"] = left;
    object["estimate"] = plan.cost_source;
    object["notes"] = plan.notes;
    if (plan.halving) object["halving"] = {{"metric", plan.halving->metric}, {"rungs", plan.halving->rungs}};
    object["attack"] = plan.attack ? nlohmann::json(options_of(*plan.attack)) : nlohmann::json();
    auto& trials = object["plan"] = nlohmann::json::array();
    for (const auto& trial : plan.trials)
      trials.push_back({{"id", trial.id}, {"settings", trial.label}, {"estimated_seconds", trial.seconds}});
    return object.dump(2) + "\n";
  }
  std::string text = fmt::format("{:<16}  {:>10}  {}\n", "trial", "estimate", "settings");
  for (std::size_t i = 0; i < std::min(plan.trials.size(), most_trials_listed); ++i) {
    const auto& trial = plan.trials[i];
    text += fmt::format("{}  {:>10}  {}\n", trial.id, duration_text(trial.seconds), trial.label);
  }
  text += unlisted_text(plan.trials.size());
  text += merged_text(plan);
  text +=
      fmt::format("{}: {} trials, {} of them done; about {} on one process for the rest ({})\nstore: {}\n", plan.name,
                  counts.trials, counts.done, duration_text(left), plan.cost_source, plan.store.string());
  for (const auto& note : plan.notes) text += fmt::format("note: {}\n", note);
  return text + halving_text(plan) + attack_text(plan);
}

std::int64_t cancel_sweep(const SweepPlan& plan, const Ledger& ledger, const std::filesystem::path& directory) {
  write_durably(cancel_marker(directory), "stop\n");
  std::int64_t running = 0;
  const auto states = ledger.read_states(plan);
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (states[i] != TrialState::running) continue;
    write_durably(ledger.stop_marker(plan.trials[i]), "stop\n");
    ++running;
  }
  return running;
}

}  // namespace spankey
