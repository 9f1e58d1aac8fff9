#include "record/listing.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "record/early_stop.h"
#include "record/result.h"
#include "record/run_progress.h"
#include "record/sweep_status.h"
#include "record/verdict.h"

namespace spankey {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool is_there(const fs::path& file) {
  std::error_code error;
  return fs::exists(file, error);
}

bool is_run(const fs::path& folder) {
  const RunDirectory run{folder};
  return is_there(run.config()) && (is_there(run.metrics()) || is_there(run.checkpoints()) || is_there(run.result()));
}

// Returns the seconds since the youngest of those files that exist was written.
double age_of(const std::vector<fs::path>& files) {
  auto newest = fs::file_time_type::min();
  for (const auto& file : files) {
    std::error_code error;
    const auto time = fs::last_write_time(file, error);
    if (!error) newest = std::max(newest, time);
  }
  if (newest == fs::file_time_type::min()) return 0.0;
  return std::max(0.0, std::chrono::duration<double>(fs::file_time_type::clock::now() - newest).count());
}

std::int64_t step_of(const RunDirectory& run) {
  const auto checkpoints = list_checkpoints(run.checkpoints());
  if (checkpoints.empty()) return -1;
  const auto name = checkpoints.front().stem().string();
  return std::stoll(name.substr(name.find('_') + 1));
}

void take_figures(const json& access, ListedRun& run) {
  const auto verdict = judge_access(access);
  run.correct = verdict.correct;
  run.no_key = verdict.no_key;
  run.worst = verdict.worst.accuracy;
  run.withheld = verdict.withheld;
}

void read_result_of(const RunDirectory& directory, ListedRun& run) {
  try {
    const auto result = read_json(directory.result());
    run.stopped_early = early_stop_text(result);
    take_figures(result, run);
  } catch (const std::exception& error) {
    run.unreadable = last_line_of(error.what());
  }
}

// A run whose configuration cannot be read is listed without figures.
void read_last_evaluation_of(const RunDirectory& directory, ListedRun& run) {
  try {
    const auto evaluation = last_evaluation(directory.metrics(), load_config(directory.config()));
    if (!evaluation.is_null()) take_figures(evaluation, run);
  } catch (const std::exception&) {
  }
}

ListedRun look_at_run(const fs::path& folder, const fs::path& name, LeaseObserver& leases) {
  const RunDirectory directory{folder};
  ListedRun run;
  run.folder = name;
  try {
    run.step = step_of(directory);
    if (is_there(directory.result())) {
      run.state = RunState::done;
    } else if (leases.held(folder)) {
      run.state = RunState::running;
    } else {
      run.reason = last_error(directory);
      run.state = !run.reason.empty() ? RunState::failed : run.step >= 0 ? RunState::stopped : RunState::begun;
    }
    if (run.state == RunState::done)
      read_result_of(directory, run);
    else
      read_last_evaluation_of(directory, run);
  } catch (const Error& error) {
    run.unreadable = error.what();
  }
  run.age_seconds = age_of({directory.config(), directory.metrics(), directory.result()});
  return run;
}

ListedSweep look_at_sweep(const fs::path& folder, const fs::path& name) {
  ListedSweep sweep;
  sweep.folder = name;
  std::vector<fs::path> written{plan_path(folder)};
  try {
    const auto plan = load_plan(folder);
    const Ledger ledger(plan.store);
    sweep.name = plan.name;
    sweep.counts = count_trials(plan, ledger);
    for (const auto& trial : plan.trials) written.push_back(ledger.run_directory(trial.id).metrics());
  } catch (const Error& error) {
    sweep.unreadable = error.what();
  }
  sweep.age_seconds = age_of(written);
  return sweep;
}

void search(const fs::path& folder, const fs::path& name, LeaseObserver& leases, RunList& found) {
  if (is_run(folder)) return found.runs.push_back(look_at_run(folder, name, leases));
  if (is_there(plan_path(folder))) return found.sweeps.push_back(look_at_sweep(folder, name));
  std::vector<fs::path> below;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, fs::directory_options::skip_permission_denied, error)) {
    std::error_code unknown;
    const bool hidden = entry.path().filename().string().starts_with(".");
    if (!hidden && !entry.is_symlink(unknown) && entry.is_directory(unknown)) below.push_back(entry.path());
  }
  std::sort(below.begin(), below.end());
  for (const auto& path : below) search(path, name == "." ? path.filename() : name / path.filename(), leases, found);
}

std::string state_text(const ListedRun& run) {
  if (!run.unreadable.empty()) return "unreadable";
  return to_string(run.state) + (run.stopped_early.empty() ? "" : ", early");
}

std::string figure(const std::optional<double>& value) {
  return value ? fmt::format("{:.4f}", *value) : "-";
}

json or_null(const std::optional<double>& value) {
  return value ? json(*value) : json();
}

std::string age_text(double seconds) {
  constexpr double day = 86400;
  return seconds >= 2 * day ? fmt::format("{:.0f} days", seconds / day) : duration_text(seconds);
}

MarkdownTable table_of(const std::vector<std::string>& texts, const std::vector<std::string>& figures) {
  std::vector<MarkdownTable::Column> columns;
  for (const auto& title : texts) columns.push_back({title, Align::left});
  for (const auto& title : figures) columns.push_back({title, Align::right});
  return MarkdownTable(columns);
}

std::string reasons_text(const std::vector<ListedRun>& runs) {
  constexpr std::size_t most = 5;
  std::string text;
  std::size_t failed = 0;
  for (const auto& run : runs)
    if (run.state == RunState::failed && failed++ < most)
      text += fmt::format("{}: {}\n", escaped(run.folder.string()), escaped(run.reason));
  return failed > most ? text + fmt::format("... and {} more that failed\n", failed - most) : text;
}

}  // namespace

std::string to_string(RunState state) {
  constexpr std::array names{"done", "running", "failed", "stopped", "begun"};
  return names.at(static_cast<std::size_t>(state));
}

RunList list_runs(const fs::path& top) {
  std::error_code error;
  const fs::directory_iterator readable(top, error);
  if (error) fail_input("{}: {}; accepted: a folder", escaped(top.string()), system_reason(error.value()));
  RunList found;
  LeaseObserver leases;
  search(top, ".", leases, found);
  return found;
}

std::string listing_text(const RunList& listing) {
  std::string text;
  if (!listing.runs.empty()) {
    auto table = table_of({"run", "state"}, {"step", "correct", "no key", "worst", "withheld", "age"});
    for (std::size_t i = 0; i < std::min(listing.runs.size(), most_trials_listed); ++i) {
      const auto& run = listing.runs[i];
      table.row({markdown_escaped(escaped(run.folder.string())), state_text(run),
                 run.step < 0 ? "-" : fmt::format("{}", run.step), figure(run.correct), figure(run.no_key),
                 figure(run.worst), figure(run.withheld), age_text(run.age_seconds)});
    }
    text += table.text() + unlisted_text(listing.runs.size()) + reasons_text(listing.runs);
  }
  if (!listing.sweeps.empty()) {
    auto table = table_of({"sweep", "name"}, {"trials", "done", "running", "failed", "halved", "waiting", "age"});
    for (const auto& sweep : listing.sweeps) {
      const auto count = [&](std::int64_t n) { return sweep.unreadable.empty() ? fmt::format("{}", n) : "?"; };
      table.row({markdown_escaped(escaped(sweep.folder.string())),
                 sweep.unreadable.empty() ? markdown_escaped(sweep.name) : "unreadable", count(sweep.counts.trials),
                 count(sweep.counts.done), count(sweep.counts.running), count(sweep.counts.failed),
                 count(sweep.counts.stopped), count(sweep.counts.waiting), age_text(sweep.age_seconds)});
    }
    text += (text.empty() ? "" : "\n") + table.text();
  }
  return text.empty() ? "no run and no sweep\n" : text;
}

json to_json(const RunList& listing) {
  json runs = json::array(), sweeps = json::array();
  for (const auto& run : listing.runs) {
    json one{{"folder", run.folder.string()},       {"state", to_string(run.state)}, {"step", run.step},
             {"correct_key", or_null(run.correct)}, {"no_key", or_null(run.no_key)}, {"worst", or_null(run.worst)},
             {"withheld", or_null(run.withheld)},   {"age_seconds", run.age_seconds}};
    if (!run.stopped_early.empty()) one["stopped_early"] = run.stopped_early;
    if (!run.reason.empty()) one["reason"] = run.reason;
    if (!run.unreadable.empty()) one["unreadable"] = run.unreadable;
    runs.push_back(std::move(one));
  }
  for (const auto& sweep : listing.sweeps) {
    auto one = to_json(sweep.counts);
    one.update(json{{"folder", sweep.folder.string()}, {"name", sweep.name}, {"age_seconds", sweep.age_seconds}});
    if (!sweep.unreadable.empty()) one["unreadable"] = sweep.unreadable;
    sweeps.push_back(std::move(one));
  }
  return {{"runs", std::move(runs)}, {"sweeps", std::move(sweeps)}};
}

}  // namespace spankey
