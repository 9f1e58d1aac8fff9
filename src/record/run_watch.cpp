#include "record/run_watch.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "record/listing.h"
#include "record/run_directory.h"

namespace spankey {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds queue_interval{15};  // Slurm's controller is shared with everybody

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// True where the file has another time than `known`, which becomes that time.
bool has_changed(const fs::path& file, fs::file_time_type& known) {
  std::error_code error;
  const auto time = fs::last_write_time(file, error);
  return !error && time != std::exchange(known, time);
}

bool has_checkpoint(const RunDirectory& run) {
  try {
    return !list_checkpoints(run.checkpoints()).empty();
  } catch (const Error&) {
    return false;
  }
}

void read_result_of(WatchedRun& run) {
  try {
    if (const auto result = read_json_if_whole(RunDirectory{run.folder}.result())) read_result(*result, run.progress);
  } catch (const Error&) {  // shown without figures
  }
}

WatchedState state_of(const TrialEntry& entry) {
  return entry.state == TrialState::done      ? WatchedState::done
         : entry.state == TrialState::failed  ? WatchedState::failed
         : entry.state == TrialState::running ? WatchedState::running
         : entry.state == TrialState::stopped ? WatchedState::halved
                                              : WatchedState::waiting;
}

}  // namespace

std::string to_string(WatchedState state) {
  constexpr std::array words{"running", "failed", "stopped", "begun", "halved", "done", "waiting"};
  return words.at(static_cast<std::size_t>(state));
}

std::int64_t WatchView::count(WatchedState state) const {
  return std::count_if(runs.begin(), runs.end(), [&](const WatchedRun& run) { return run.state == state; });
}

bool WatchView::over() const {
  return count(WatchedState::done) + count(WatchedState::failed) + count(WatchedState::halved) == std::ssize(runs);
}

RunWatch::RunWatch(fs::path place) : place_(std::move(place)) {
  look();
  found_ = true;
}

WatchView RunWatch::look() {
  std::error_code error;
  if (!fs::is_directory(place_, error)) {
    if (found_) fail_input("{}: the folder is gone", escaped(place_.string()));
    fail_input("{}: no such folder; accepted: a run directory, the folder of a sweep, or a folder that holds such",
               escaped(place_.string()));
  }
  WatchView view;
  view.title = fs::absolute(place_ / "").lexically_normal().parent_path().filename().string();
  if (is_there(plan_path(place_))) {
    add_sweep(place_, "", view);
    const auto now = std::chrono::steady_clock::now();
    if (asked_ == std::chrono::steady_clock::time_point{} || now - asked_ >= queue_interval) {
      queue_ = ask_queue(place_);
      asked_ = std::chrono::steady_clock::now();
    }
    view.queue = queue_;
  } else {
    const auto listing = list_runs(place_);
    for (const auto& run : listing.runs)
      add_run((place_ / run.folder).lexically_normal(), run.folder == "." ? view.title : run.folder.string(), view);
    for (const auto& sweep : listing.sweeps) add_sweep(place_ / sweep.folder, sweep.folder.string() + ": ", view);
  }
  if (view.runs.empty()) {
    if (found_) fail_input("{}: its runs are gone", escaped(place_.string()));
    fail_input("{}: no run and no sweep; accepted: a run directory, the folder of a sweep, or a folder that holds such",
               escaped(place_.string()));
  }
  return view;
}

void RunWatch::add_sweep(const fs::path& folder, const std::string& prefix, WatchView& view) {
  auto& sweep = sweeps_[folder];
  if (has_changed(plan_path(folder), sweep.plan_time) || !sweep.ledger) {
    sweep.plan = load_plan(folder);
    sweep.ledger = std::make_unique<Ledger>(sweep.plan.store);
  }
  if (prefix.empty()) view.title = sweep.plan.name;
  const auto entries = sweep.ledger->read_all(sweep.plan);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& trial = sweep.plan.trials[i];
    const auto& entry = entries[i];
    WatchedRun run;
    run.name = prefix + (trial.label.empty() ? trial.id : trial.label);
    run.folder = sweep.ledger->run_directory(trial.id).root;
    run.state = state_of(entry);
    run.attempts = entry.attempts;
    if (run.state == WatchedState::failed) run.reason = fmt::format("exit code {}: {}", entry.exit_code, entry.reason);
    if (run.state == WatchedState::halved) run.reason = entry.reason;
    if (run.state != WatchedState::waiting || entry.attempts > 0) {
      const auto config = RunDirectory{run.folder}.config();
      read_files(is_there(config) ? config : sweep.ledger->config_file(trial.id), run);
    }
    view.runs.push_back(std::move(run));
  }
}

void RunWatch::add_run(const fs::path& folder, const std::string& name, WatchView& view) {
  const RunDirectory directory{folder};
  WatchedRun run;
  run.name = name;
  run.folder = folder;
  if (is_there(directory.result())) {
    run.state = WatchedState::done;
  } else if (leases_.held(folder)) {
    run.state = WatchedState::running;
  } else {
    run.reason = last_error(directory);
    run.state = !run.reason.empty()         ? WatchedState::failed
                : has_checkpoint(directory) ? WatchedState::stopped
                                            : WatchedState::begun;
  }
  read_files(directory.config(), run);
  view.runs.push_back(std::move(run));
}

void RunWatch::read_files(const fs::path& config, WatchedRun& run) {
  auto& seen = seen_.try_emplace(run.folder, run.folder).first->second;
  if (has_changed(config, seen.config_time)) {
    try {
      const auto read = load_config(config);
      seen.epochs = read.train.epochs;
      seen.global_batch = read.train.global_batch;
    } catch (const Error&) {
      seen.epochs = 0;  // the run is shown without what its configuration tells
    }
  }
  run.epochs = seen.epochs;
  run.progress = seen.metrics.look();
  if (run.state == WatchedState::done && !run.progress.finished) read_result_of(run);  // its metrics were removed
  if (run.state == WatchedState::done) run.reason = run.progress.stopped_early;
  const auto left = steps_left(run.progress, run.epochs);
  if (run.state != WatchedState::running || !left || run.progress.samples_per_second.value_or(0.0) <= 0) return;
  const double seconds = static_cast<double>(*left * seen.global_batch) / *run.progress.samples_per_second;
  run.seconds_left = std::max(0.0, seconds - seen.metrics.age_seconds());
}

}  // namespace spankey
