#include "study/attempt.h"

#include <cstring>
#include <fstream>

#include "base/error.h"

namespace spankey {
namespace {

constexpr std::int64_t most_idle_requeues = 3;

std::string last_line_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line, last;
  while (std::getline(file, line))
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
  constexpr std::size_t longest = 400;
  return last.substr(0, longest);
}

}  // namespace

std::filesystem::path cancel_marker(const std::filesystem::path& directory) {
  return directory / "CANCEL";
}

TrialEntry after_attempt(const TrialEntry& before, int exit_code, bool result, std::int64_t step, double seconds,
                         const std::string& last_line) {
  const bool advanced = step > before.step;
  auto entry = before;
  entry.state = TrialState::waiting;
  entry.exit_code = exit_code;
  entry.step = step;
  entry.seconds += seconds;
  entry.idle_attempts = advanced ? 0 : before.idle_attempts + 1;
  entry.reason.clear();
  const auto fail = [&](std::string reason) {
    entry.state = TrialState::failed;
    entry.reason = std::move(reason);
  };
  constexpr int signalled = 128;
  if (exit_code == static_cast<int>(ExitCode::done)) {
    entry.state = TrialState::done;
    if (!result) fail("it ended with 0 but left no result of this configuration");
  } else if (exit_code == static_cast<int>(ExitCode::requeue)) {
    if (entry.idle_attempts >= most_idle_requeues)
      fail(fmt::format("it asked to be started again {} times without having come further", entry.idle_attempts));
  } else if (exit_code == 1 || exit_code >= signalled) {
    const auto how = exit_code == 1 ? std::string("ended with 1")
                                    : fmt::format("ended by signal {} ({})", exit_code - signalled,
                                                  strsignal(exit_code - signalled));
    if (!advanced) fail(how + " without having come further than the attempt before");
  } else {
    fail(last_line.empty() ? fmt::format("ended with {}", exit_code) : last_line);
  }
  return entry;
}

TrialEntry outcome_of_attempt(Ledger& ledger, const PlannedTrial& trial, const TrialEntry& before, int exit_code,
                              double seconds) {
  return after_attempt(before, exit_code, ledger.has_result(trial), ledger.checkpoint_step(trial.id), seconds,
                       last_line_of(ledger.output_log(trial.id)));
}

void link_trial(const SweepPlan& plan, const std::filesystem::path& directory, const std::string& id) {
  const auto trials = std::filesystem::absolute(directory / "trials");
  std::error_code error;
  if (std::filesystem::equivalent(trials, plan.store, error)) return;
  std::filesystem::create_directory_symlink(plan.store / id, trials / id, error);
}

}  // namespace spankey
