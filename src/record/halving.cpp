#include "record/halving.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/origin.h"
#include "base/text.h"

namespace spankey {
namespace {

constexpr std::string_view measured_ending = ".measured.json", decided_ending = ".decided.json";

// A folder for each rule, so that another rule, or a grid that has grown, decides anew.
std::filesystem::path folder_of(const SweepPlan& plan) {
  constexpr std::size_t digits = 8;
  const auto& rule = plan.halving.value();
  Sha256 digest;
  digest.update(rule.metric).update(std::string_view("\0", 1)).update_int64(rule.maximise ? 1 : 0);
  digest.update_int64(rule.factor);
  for (const auto epochs : rule.rungs) digest.update_int64(epochs);
  for (const auto& trial : plan.trials) digest.update(trial.hash);
  return plan.directory / "halving" / to_hex(digest.finish()).substr(0, digits);
}

std::string epochs_text(std::int64_t epochs) {
  return counted(epochs, "epoch");
}

}  // namespace

Halving::Halving(const SweepPlan& plan)
    : plan_(plan),
      rule_(plan.halving.value()),
      objective_(parse_objective(rule_.metric, "halving.metric")),
      folder_(folder_of(plan)),
      trials_(plan.trials.size()) {
  for (std::size_t i = 0; i < trials_.size(); ++i) {
    positions_.emplace(plan.trials[i].id, i);
    trials_[i].rungs.resize(rule_.rungs.size());
  }
}

bool Halving::refresh() {
  const auto before = seen_.size();
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error))
    if (!seen_.contains(entry->path().filename().string())) take(entry->path());
  return seen_.size() > before;
}

void Halving::take(const std::filesystem::path& file) {
  const auto name = file.filename().string();
  const bool measured = name.ends_with(measured_ending);
  if (!measured && !name.ends_with(decided_ending)) return;
  const auto dash = name.find('-');
  const auto trial = positions_.find(name.substr(0, dash));
  std::int64_t epochs = 0;
  if (dash != std::string::npos) std::from_chars(name.data() + dash + 1, name.data() + name.size(), epochs);
  const auto rung = std::find(rule_.rungs.begin(), rule_.rungs.end(), epochs);
  if (trial == positions_.end() || rung == rule_.rungs.end()) return;
  try {
    const auto json = read_json_if_whole(file);
    if (!json) return;
    auto& state = trials_[trial->second];
    auto& at = state.rungs[static_cast<std::size_t>(rung - rule_.rungs.begin())];
    if (measured) {
      const auto& value = json->at("value");
      if (value.is_number()) at.value = value.get<double>();
      at.measured = true;
    } else {
      at.reason = json->at("reason").get<std::string>();
      at.promoted = json->at("decision").get<std::string>() == "promoted";
      at.decided = true;
      state.stopped = state.stopped || !at.promoted;
      const auto open = std::find_if(state.rungs.begin(), state.rungs.end(), [](const auto& r) { return !r.promoted; });
      state.passed = static_cast<std::size_t>(open - state.rungs.begin());
    }
    seen_.insert(name);
  } catch (const std::exception&) {
    return;  // damaged, or not to be read now. It is decided or measured again
  }
}

std::int64_t Halving::pause_epochs(std::size_t trial) const {
  const auto passed = trials_.at(trial).passed;
  if (passed == rule_.rungs.size() || rule_.rungs[passed] >= plan_.trials[trial].epochs) return 0;
  return rule_.rungs[passed];
}

bool Halving::is_paused(std::size_t trial) const {
  if (pause_epochs(trial) == 0) return false;
  const auto& at = trials_[trial].rungs[trials_[trial].passed];
  return at.measured && !at.decided;
}

const std::string* Halving::stopped(std::size_t trial) const {
  const auto& state = trials_.at(trial);
  return state.stopped ? &state.rungs[state.passed].reason : nullptr;
}

bool Halving::publish(const std::filesystem::path& file, const std::string& text) {
  make_writable_folder(folder_);
  auto part = file;
  part += fmt::format(".{}.{}.part", host_name(), getpid());
  write_durably(part, text);
  const bool linked = link(part.c_str(), file.c_str()) == 0;
  const bool others = !linked && errno == EEXIST && read_json_if_whole(file);
  std::error_code error;
  // Some file systems have no second names, and a damaged file is no word of anybody. The rename replaces it.
  if (linked || others)
    std::filesystem::remove(part, error);
  else
    std::filesystem::rename(part, file, error);
  if (error && !linked && !others) fail_system(error, "{} cannot be written", file.string());
  make_renames_durable(folder_);
  return !others;
}

void Halving::record(std::size_t trial, std::size_t rung, std::optional<double> value) {
  const auto epochs = rule_.rungs[rung];
  const nlohmann::json json{{"value", value ? nlohmann::json(*value) : nlohmann::json()},
                            {"metric", rule_.metric},
                            {"epochs", epochs},
                            {"time", utc_now()}};
  const auto file = folder_ / fmt::format("{}-{}{}", plan_.trials[trial].id, epochs, measured_ending);
  publish(file, json.dump() + "\n");
  take(file);
}

void Halving::measure(std::size_t trial, std::int64_t epochs) {
  const auto rung = std::find(rule_.rungs.begin(), rule_.rungs.end(), epochs);
  SPANKEY_CHECK(rung != rule_.rungs.end());
  const RunDirectory run{plan_.store / plan_.trials[trial].id};
  const auto evaluation = evaluation_after(run.metrics(), epochs);
  if (evaluation.is_null()) fail_run("{} has no evaluation after {}", run.metrics().string(), epochs_text(epochs));
  const auto attacks = uses_attack() ? newest_attack_summary(run) : nlohmann::json();
  const auto value = value_of(objective_, evaluation, attacks);
  if (!value) require_known(objective_, evaluation, attacks, "halving.metric");
  record(trial, static_cast<std::size_t>(rung - rule_.rungs.begin()), value);
}

// A trial that another sweep of the store has trained to its end, or that ends before a rung, is measured there by what
// it has left.
void Halving::measure_finished(const std::vector<TrialState>& states) {
  for (std::size_t i = 0; i < trials_.size(); ++i) {
    if (states[i] != TrialState::done) continue;
    const RunDirectory run{plan_.store / plan_.trials[i].id};
    for (std::size_t rung = 0; rung < rule_.rungs.size(); ++rung) {
      if (trials_[i].rungs[rung].measured) continue;
      const auto attacks = uses_attack() ? newest_attack_summary(run) : nlohmann::json();
      auto value = value_of(objective_, evaluation_after(run.metrics(), rule_.rungs[rung]), attacks);
      if (const auto result = read_json_if_whole(run.result()); !value && result)
        value = value_of(objective_, *result, attacks);
      record(i, rung, value);
    }
  }
}

bool Halving::is_better(std::size_t a, std::size_t b, std::size_t rung) const {
  const auto& x = trials_[a].rungs[rung].value;
  const auto& y = trials_[b].rungs[rung].value;
  if (x.has_value() != y.has_value()) return x.has_value();
  if (!x || *x == *y) return a < b;
  return rule_.maximise ? *x > *y : *x < *y;
}

std::vector<std::size_t> Halving::ranked(std::size_t rung) const {
  std::vector<std::size_t> measured;
  for (std::size_t i = 0; i < trials_.size(); ++i)
    if (trials_[i].rungs[rung].measured) measured.push_back(i);
  std::sort(measured.begin(), measured.end(), [&](auto a, auto b) { return is_better(a, b, rung); });
  return measured;
}

std::int64_t Halving::quota(std::size_t rung) const {
  auto left = static_cast<std::int64_t>(trials_.size());
  for (std::size_t i = 0; i <= rung; ++i) left /= rule_.factor;
  return std::max<std::int64_t>(1, left);
}

std::string Halving::standing(std::size_t trial, std::size_t rung, std::size_t rank, std::size_t measured) const {
  const auto& value = trials_[trial].rungs[rung].value;
  return fmt::format("{} = {} after {}, rank {} of {} measured", rule_.metric,
                     value ? fmt::format("{:.6g}", *value) : "no number", epochs_text(rule_.rungs[rung]), rank + 1,
                     measured);
}

std::string Halving::decide(std::size_t trial, std::size_t rung, bool promoted, const std::string& reason) {
  const nlohmann::json json{{"decision", promoted ? "promoted" : "stopped"}, {"reason", reason}, {"time", utc_now()}};
  const auto& planned = plan_.trials[trial];
  const auto file = folder_ / fmt::format("{}-{}{}", planned.id, rule_.rungs[rung], decided_ending);
  const bool ours = publish(file, json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  take(file);
  if (!ours) return {};
  return fmt::format("{}: {} ({}): {}", promoted ? "goes on" : "stopped", planned.id, planned.label, reason);
}

std::vector<std::string> Halving::decide(const std::vector<TrialState>& states) {
  measure_finished(states);
  std::vector<std::string> lines;
  for (std::size_t rung = 0; rung < rule_.rungs.size(); ++rung) {
    // What may still be measured here may be better than everything that has been.
    std::int64_t unknown = 0;
    for (std::size_t i = 0; i < trials_.size(); ++i)
      if (!trials_[i].rungs[rung].measured && !trials_[i].stopped && states[i] != TrialState::failed) ++unknown;
    const auto order = ranked(rung);
    for (std::size_t rank = 0; rank < order.size(); ++rank) {
      const auto trial = order[rank];
      const auto better = static_cast<std::int64_t>(rank);
      const bool ended = states[trial] == TrialState::done || states[trial] == TrialState::failed;
      if (trials_[trial].passed != rung || !is_paused(trial) || ended) continue;
      const bool out = better >= quota(rung), in = better + unknown < quota(rung);
      if (!out && !in) continue;
      auto line = decide(trial, rung, in,
                         fmt::format("{}; the best {} of {} trials go on", standing(trial, rung, rank, order.size()),
                                     quota(rung), trials_.size()));
      if (!line.empty()) lines.push_back(std::move(line));
    }
  }
  return lines;
}

std::optional<std::string> Halving::promote_early(const std::vector<TrialState>& states) {
  for (std::size_t rung = rule_.rungs.size(); rung-- > 0;) {
    const auto order = ranked(rung);
    const auto best = order.size() / static_cast<std::size_t>(rule_.factor);
    for (std::size_t rank = 0; rank < std::min(best, order.size()); ++rank) {
      const auto trial = order[rank];
      const bool ended = states[trial] == TrialState::done || states[trial] == TrialState::failed;
      if (trials_[trial].passed != rung || !is_paused(trial) || ended) continue;
      return decide(trial, rung, true,
                    fmt::format("{}; the best 1 of {} of them goes on while a worker has nothing else to do",
                                standing(trial, rung, rank, order.size()), rule_.factor));
    }
  }
  return std::nullopt;
}

std::string Halving::text() const {
  std::vector<std::string> rungs;
  for (std::size_t rung = 0; rung < rule_.rungs.size(); ++rung) {
    std::int64_t measured = 0, promoted = 0, stopped = 0;
    for (const auto& trial : trials_) {
      const auto& at = trial.rungs[rung];
      measured += at.measured ? 1 : 0;
      promoted += at.decided && at.promoted ? 1 : 0;
      stopped += at.decided && !at.promoted ? 1 : 0;
    }
    rungs.push_back(fmt::format("after {} {} measured, {} go on, {} stopped", epochs_text(rule_.rungs[rung]), measured,
                                promoted, stopped));
  }
  return fmt::format("halving by {} ({}): {}", rule_.metric, goal_word(rule_), fmt::join(rungs, "; "));
}

}  // namespace spankey
