#include "train/metrics.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/origin.h"
#include "base/system_error.h"
#include "base/version.h"
#include "train/statistics.h"

namespace spankey {
namespace {

// Lines up to the cursor; a torn last line (the process was killed while writing it) is dropped as well, and the
// result: an attempt that goes on writes it again.
std::string lines_up_to(const std::string& text, std::int64_t global_step) {
  std::string kept;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const auto line = nlohmann::json::parse(text.substr(begin, end - begin), nullptr, /*allow_exceptions=*/false);
    if (line.is_object() && line.value("global_step", std::int64_t{-1}) <= global_step &&
        line.value("kind", "") != "result")
      kept.append(text, begin, end + 1 - begin);
    begin = end + 1;
  }
  return kept;
}

std::string format_seconds(double seconds) {
  const auto s = static_cast<long>(std::lround(std::max(0.0, seconds)));
  return s < 3600 ? fmt::format("{}:{:02d}", s / 60, s % 60)
                  : fmt::format("{}:{:02d}:{:02d}", s / 3600, s / 60 % 60, s % 60);
}

std::string group_thousands(long number) {
  return number < 1000 ? std::to_string(number)
                       : fmt::format("{},{:03d}", group_thousands(number / 1000), number % 1000);
}

// mpirun gives its ranks a pseudo-terminal whatever its own output goes to: there, what counts is where it writes.
bool writes_to_terminal() {
  if (!isatty(STDOUT_FILENO) || !std::getenv("TERM")) return false;
  if (!std::getenv("OMPI_COMM_WORLD_RANK")) return true;
  std::error_code failed;
  const auto target = std::filesystem::read_symlink(fmt::format("/proc/{}/fd/1", getppid()), failed).string();
  return target.starts_with("/dev/pts/") || target.starts_with("/dev/tty");
}

}  // namespace

MetricsLog::MetricsLog(const std::filesystem::path& path, std::int64_t global_step)
    : path_(path), started_at_(utc_now()) {
  if (std::filesystem::exists(path)) {
    const auto kept = lines_up_to(read_text(path), global_step);
    const auto first = nlohmann::json::parse(kept.substr(0, kept.find('\n')), nullptr, /*allow_exceptions=*/false);
    if (first.is_object()) started_at_ = first.value("started_at", started_at_);
    empty_ = kept.empty();
    write_durably(path, kept);
  }
  file_.open(path, std::ios::app);
  if (!file_) fail_system(errno, "{} cannot be opened for writing", path.string());
}

void MetricsLog::write(nlohmann::json line) {
  line["time"] = utc_now();
  if (std::exchange(empty_, false)) line["started_at"] = started_at_;
  file_ << line.dump() << '\n';
  if (!file_.flush()) fail_run("{} cannot be written (disk full?)", path_.string());
}

void add_origin(nlohmann::json& result, const std::string& started_at) {
  result["started_at"] = started_at;
  result["finished_at"] = utc_now();
  result["host"] = host_name();
  result["command"] = command_line();
  result["program"] = program_version();
}

void StepClock::start() {
  started_ = std::chrono::steady_clock::now();
}

void StepClock::stop(std::int64_t samples, std::int64_t steps) {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started_;
  seconds_.insert(seconds_.end(), static_cast<std::size_t>(steps), elapsed.count() / static_cast<double>(steps));
  samples_ += samples;
  total_seconds_ += elapsed.count();
}

StepClock::Figures StepClock::take() {
  double sum = 0.0;
  for (const double s : seconds_) sum += s;
  const auto time = [&](double q) { return seconds_.empty() ? 0.0 : quantile(seconds_, q); };
  const Figures figures{sum > 0.0 ? static_cast<double>(samples_) / sum : 0.0, time(0.5), time(0.99)};
  seconds_.clear();
  samples_ = 0;
  return figures;
}

ProgressBar::ProgressBar() : terminal_(writes_to_terminal()), last_(std::chrono::steady_clock::now()) {}

void ProgressBar::show(const Progress& progress) {
  const auto now = std::chrono::steady_clock::now();
  const bool last_step = progress.step == progress.steps;
  const std::chrono::duration<double> since = now - last_;
  if (!last_step && since.count() < (terminal_ ? 0.1 : 30.0)) return;
  last_ = now;
  std::printf("%s%s", terminal_ ? "\r\033[K" : "", format_progress(progress).c_str());
  line_open_ = terminal_;
  if (!terminal_) std::printf("\n");
  std::fflush(stdout);
}

void ProgressBar::finish_line() {
  if (line_open_) std::printf("\n");
  line_open_ = false;
}

std::string format_progress(const Progress& p) {
  constexpr std::int64_t width = 32;
  const auto filled = static_cast<std::size_t>(p.steps > 0 ? width * p.step / p.steps : width);
  return fmt::format("epoch {}/{}  {:-<{}}  {}/{}   loss {:.3f}  ce {:.3f}  deny {:.3f}   {} samples/s   {} left",
                     p.epoch + 1, p.epochs, std::string(filled, '#'), width, p.step, p.steps, p.loss, p.ce, p.deny,
                     group_thousands(std::lround(p.samples_per_second)), format_seconds(p.seconds_left));
}

}  // namespace spankey
