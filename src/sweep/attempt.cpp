#include "sweep/attempt.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/text.h"

namespace spankey {
namespace {

constexpr std::int64_t most_idle_requeues = 3;

// Without what mpirun says about every program that ends badly, between two lines of dashes.
std::string without_launcher_notes(const std::string& text) {
  constexpr std::size_t shortest_rule = 20;
  std::string kept;
  std::istringstream lines(text);
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    const bool rule = line.size() >= shortest_rule && line.find_first_not_of('-') == std::string::npos;
    if (rule) inside = !inside;
    if (!rule && !inside) kept += line + "\n";
  }
  return kept;
}

// The last line of a log, without the time and the level that logging puts in front, or the name of the program.
std::string last_complaint(const std::filesystem::path& log) {
  constexpr std::streamoff most_read = 16'384;
  constexpr std::size_t longest = 400;
  std::ifstream file(log, std::ios::binary | std::ios::ate);
  const auto size = static_cast<std::streamoff>(file.tellg());
  if (size <= 0) return {};
  std::string end(static_cast<std::size_t>(std::min(size, most_read)), '\0');
  file.seekg(-static_cast<std::streamoff>(end.size()), std::ios::end);
  file.read(end.data(), static_cast<std::streamsize>(end.size()));
  auto line = last_line_of(without_launcher_notes(end));
  constexpr std::string_view level = "] error: ", program = "spankey: ";
  if (const auto at = line.find(level); at != std::string::npos) line.erase(0, at + level.size());
  if (line.starts_with(program)) line.erase(0, program.size());
  return line.substr(0, longest);
}

}  // namespace

std::filesystem::path cancel_marker(const std::filesystem::path& directory) {
  return directory / "CANCEL";
}

bool is_cancelled(const std::filesystem::path& directory) {
  std::error_code error;
  return std::filesystem::exists(cancel_marker(directory), error);
}

TrialEntry after_attempt(const TrialEntry& before, const AttemptEnd& end, bool result, std::int64_t step,
                         const std::function<std::string()>& complaint) {
  constexpr int signalled = 128;
  const bool advanced = step > before.step || end.units > before.units;
  const bool crashed = end.exit_code == 1 || end.exit_code >= signalled;
  // A stop may reach a trial that has no handlers yet, or come as SIGKILL. Neither says anything about the trial.
  const bool ended_by_stop = end.stopped && crashed;
  auto entry = before;
  entry.state = TrialState::waiting;
  entry.exit_code = end.exit_code;
  entry.step = step;
  entry.units = end.units;
  entry.seconds += end.seconds;
  if (advanced) entry.idle_attempts = 0;
  if (!advanced && !ended_by_stop) ++entry.idle_attempts;
  entry.reason.clear();
  const auto fail = [&](std::string reason) {
    entry.state = TrialState::failed;
    entry.reason = std::move(reason);
  };
  if (end.exit_code == static_cast<int>(ExitCode::done)) {
    if (result) entry.state = TrialState::done;
    if (!result && end.pause_epochs > 0) entry.idle_attempts = 0;
    if (!result && end.pause_epochs == 0) fail("it ended with 0 but left no result of this configuration");
  } else if (end.exit_code == static_cast<int>(ExitCode::requeue)) {
    if (entry.idle_attempts >= most_idle_requeues)
      fail(fmt::format("it asked to be started again {} times without having come further", entry.idle_attempts));
  } else if (crashed) {
    const auto how = end.exit_code == 1 ? std::string("ended with 1")
                                        : fmt::format("ended by signal {} ({})", end.exit_code - signalled,
                                                      strsignal(end.exit_code - signalled));
    if (!advanced && !ended_by_stop) fail(how + " without having come further than the attempt before");
  } else {
    const auto reason = complaint();
    fail(reason.empty() ? fmt::format("ended with {}", end.exit_code) : reason);
  }
  return entry;
}

TrialEntry outcome_of_attempt(Ledger& ledger, const PlannedTrial& trial, const TrialEntry& before, AttemptEnd end) {
  if (!trial.attack.empty()) end.units = ledger.attack_units(trial.id);
  auto entry = after_attempt(before, end, ledger.has_result(trial), ledger.checkpoint_step(trial.id),
                             [&] { return last_complaint(ledger.output_log(trial.id)); });
  if (entry.state == TrialState::done) entry.reason = ledger.stopped_early(trial.id);
  if (entry.state == TrialState::done && !trial.attack.empty()) entry.attack = trial.attack;
  return entry;
}

void measure_at_rung(TrialQueue& queue, const PlannedTrial& trial, const AttemptEnd& end, TrialEntry& entry) {
  const bool paused =
      end.pause_epochs > 0 && entry.state == TrialState::waiting && end.exit_code == static_cast<int>(ExitCode::done);
  if (!paused) return;
  try {
    queue.measure(trial, end.pause_epochs);
  } catch (const Error& error) {
    if (error.code() != ExitCode::bad_input) throw;
    entry.state = TrialState::failed;
    entry.reason = error.what();
  }
}

void link_trial(const SweepPlan& plan, const std::filesystem::path& directory, const std::string& id) {
  const auto trials = std::filesystem::absolute(directory / "trials");
  std::error_code error;
  if (std::filesystem::equivalent(trials, plan.store, error)) return;
  std::filesystem::create_directory_symlink(plan.store / id, trials / id, error);
}

}  // namespace spankey
