#include "sweep/sweep_progress.h"

#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "base/standard_streams.h"
#include "base/text.h"

namespace spankey {
namespace {

constexpr std::chrono::seconds between_plain_lines{15};

}  // namespace

SweepProgress::SweepProgress(bool redraw)
    : redraws_(redraw && redraws_lines(STDOUT_FILENO)), quiet_(standard_streams::are_quiet()) {}

double SweepProgress::seconds_left(const TrialQueue& queue) const {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started_;
  return planned_seconds_ended_ > 0 ? elapsed.count() / planned_seconds_ended_ * queue.left_seconds() : 0.0;
}

void SweepProgress::show(const TrialQueue& queue, int running) {
  const auto now = std::chrono::steady_clock::now();
  if (quiet_ || (!redraws_ && now - shown_ < between_plain_lines)) return;
  shown_ = now;
  const auto waiting = static_cast<std::int64_t>(queue.left()) - running;
  auto line = fmt::format("[{}/{} done, {} failed, {} running, {} waiting", queue.done(), queue.trials(),
                          queue.failed(), running, waiting);
  if (queue.stopped() > 0) line += fmt::format(", {} stopped", queue.stopped());
  if (planned_seconds_ended_ > 0) line += fmt::format("; about {} left", duration_text(seconds_left(queue)));
  fmt::print("{}{}]{}", redraws_ ? "\r\033[K" : "", line, redraws_ ? "" : "\n");
  line_open_ = redraws_;
  std::fflush(stdout);
}

void SweepProgress::note(const std::string& line) {
  if (!quiet_) print(line);
}

void SweepProgress::print(const std::string& line) {
  fmt::print("{}{}\n", line_open_ ? "\r\033[K" : "", line);
  line_open_ = false;
  std::fflush(stdout);
}

void SweepProgress::ended(const PlannedTrial& trial, const TrialEntry& entry, double seconds,
                          const std::filesystem::path& log) {
  const auto name = fmt::format("{} ({})", trial.id, trial.label);
  if (entry.state == TrialState::done) {
    planned_seconds_ended_ += trial.seconds;
    note(fmt::format("done in {:.1f} s: {}", seconds, name));
  } else if (entry.state == TrialState::failed) {
    planned_seconds_ended_ += trial.seconds;
    print(fmt::format("FAILED with {}: {}: {} (log: {})", entry.exit_code, name, entry.reason, log.string()));
  } else if (entry.exit_code == 0) {
    note(fmt::format("paused in {:.1f} s at step {}: {}", seconds, entry.step, name));
  } else {
    note(fmt::format("ended with {} at step {}, to be continued: {}", entry.exit_code, entry.step, name));
  }
}

void SweepProgress::summary(const TrialQueue& queue) {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started_;
  const auto stopped = queue.stopped() > 0 ? fmt::format(", {} stopped", queue.stopped()) : std::string();
  print(fmt::format("{} of {} trials done, {} failed{}, {} left, after {}", queue.done(), queue.trials(),
                    queue.failed(), stopped, queue.left(), duration_text(elapsed.count())));
}

}  // namespace spankey
