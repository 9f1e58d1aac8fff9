#include "train/metrics.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/command_line.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/origin.h"
#include "base/standard_streams.h"
#include "base/statistics.h"
#include "base/text.h"
#include "base/version.h"

namespace spankey {
namespace {

// Returns the lines up to the cursor. A torn last line (the process was killed while writing it) is dropped as well. So
// is the result, because an attempt that goes on writes it again.
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

constexpr std::chrono::seconds retry_interval{1};

// Returns where mpirun's own output goes. Its ranks write into a pipe, or into a pseudo-terminal that has no width.
std::string output_of_launcher() {
  std::error_code failed;
  const auto target = std::filesystem::read_symlink(fmt::format("/proc/{}/fd/2", getppid()), failed).string();
  return target.starts_with("/dev/pts/") || target.starts_with("/dev/tty") ? target : "";
}

// Returns -1 where standard error is no terminal, or one that cannot redraw a line. Like descriptor 2, it is never
// closed.
int find_terminal() {
  if (std::getenv("OMPI_COMM_WORLD_RANK") == nullptr) return redraws_lines(STDERR_FILENO) ? STDERR_FILENO : -1;
  const auto target = output_of_launcher();
  const int terminal = target.empty() ? -1 : open(target.c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC);
  return redraws_lines(terminal) ? terminal : -1;
}

// Returns one less than there are, because some terminals begin a new line after the last one.
std::size_t usable_columns(int terminal) {
  winsize size{};
  if (ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) return size.ws_col - 1U;
  const char* columns = std::getenv("COLUMNS");
  const long number = columns != nullptr ? std::strtol(columns, nullptr, 10) : 0;
  return number > 1 && number < 10'000 ? static_cast<std::size_t>(number - 1) : 79;
}

// A part of a line. The parts with the highest rank are left out first. Those of rank 0 always stay.
struct LinePart {
  int rank;
  std::string text;
};

std::string fit(std::vector<LinePart> parts, std::size_t width) {
  const auto length = [&] {
    std::size_t sum = 0;
    for (const auto& part : parts) sum += part.text.size();
    return sum;
  };
  while (length() > width) {
    const auto least = std::max_element(parts.begin(), parts.end(),
                                        [](const LinePart& a, const LinePart& b) { return a.rank < b.rank; });
    if (least->rank == 0) break;
    parts.erase(least);
  }
  std::string line;
  for (const auto& part : parts) line += part.text;
  return line.substr(0, width);
}

std::string bar(double share, std::size_t width) {
  const auto filled = static_cast<std::size_t>(static_cast<double>(width) * std::clamp(share, 0.0, 1.0));
  return "  " + std::string(filled, '#') + std::string(width - filled, '-');
}

constexpr std::size_t long_bar = 32, short_bar = 10;

}  // namespace

MetricsLog::MetricsLog(const std::filesystem::path& path, std::int64_t global_step, std::optional<EventFile> events)
    : path_(path), started_at_(utc_now()), events_(std::move(events)) {
  std::string before;
  if (std::filesystem::exists(path)) {
    const auto kept = lines_up_to(read_text(path), global_step);
    const auto first = nlohmann::json::parse(kept.substr(0, kept.find('\n')), nullptr, /*allow_exceptions=*/false);
    if (first.is_object()) started_at_ = first.value("started_at", started_at_);
    empty_ = kept.empty();
    write_durably(path, kept);
    before = kept;
    std::istringstream lines(kept);
    for (std::string line; std::getline(lines, line);)
      if (const auto json = nlohmann::json::parse(line); json.value("kind", "") == "eval")
        evaluations_[json.value("global_step", std::int64_t{-1})] = line;
  }
  file_ = Descriptor(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file_.valid()) fail_system(errno, "{} cannot be opened for writing", path.string());
  if (events_) events_->begin(before);
  writer_ = std::thread([this] { work(); });
}

MetricsLog::~MetricsLog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  writer_.join();
  const auto missing = std::count(pending_.begin(), pending_.end(), '\n');
  if (missing > 0) log::error("{}: {} lines could not be written and are missing", path_.string(), missing);
}

void MetricsLog::write(nlohmann::json line) {
  line["time"] = utc_now();
  if (std::exchange(empty_, false)) line["started_at"] = started_at_;
  {
    const std::lock_guard lock(mutex_);
    pending_ += line.dump() + "\n";
    if (events_) pending_events_ += line.dump() + "\n";
  }
  changed_.notify_all();
}

nlohmann::json MetricsLog::evaluation_after(std::int64_t global_step) const {
  const auto found = evaluations_.find(global_step);
  return found == evaluations_.end() ? nlohmann::json() : nlohmann::json::parse(found->second);
}

void MetricsLog::flush() {
  std::unique_lock lock(mutex_);
  if (pending_.empty() && !busy_) return;
  hurry_ = true;
  changed_.notify_all();
  const auto next_try = tries_ + 1;  // a try that is under way may have begun without the last lines
  changed_.wait(lock, [&] { return (pending_.empty() || tries_ >= next_try) && !busy_; });
}

void MetricsLog::work() {
  std::unique_lock lock(mutex_);
  for (bool failed = false;;) {
    if (failed)
      changed_.wait_for(lock, retry_interval, [this] { return stop_ || hurry_; });
    else
      changed_.wait(lock, [this] { return stop_ || !pending_.empty(); });
    const bool last = stop_;
    if (!pending_.empty()) {
      std::string lines = std::exchange(pending_, {});
      const std::string events = std::exchange(pending_events_, {});
      ++tries_;
      hurry_ = false;  // a request during this try asks for another one
      busy_ = true;
      lock.unlock();
      failed = !append(lines);
      if (events_) events_->add(events);
      lock.lock();
      pending_.insert(0, lines);  // the rest of them. Others may have come meanwhile
      busy_ = false;
    }
    changed_.notify_all();
    if (last) return;
  }
}

// Removes from `lines` what is in the file. A partly written line is continued, because nobody else appends.
bool MetricsLog::append(std::string& lines) {
  while (!lines.empty()) {
    if (!file_.valid()) file_ = Descriptor(open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    const ssize_t written = file_.valid() ? ::write(file_.get(), lines.data(), lines.size()) : -1;
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      if (!std::exchange(told_, true))
        log::warning("{} cannot be written: {}; its lines are kept and tried again", path_.string(),
                     system_reason(errno));
      file_.reset();  // a stale handle stays stale
      return false;
    }
    lines.erase(0, static_cast<std::size_t>(written));
  }
  if (std::exchange(told_, false)) log::info("{} is written again, without a gap", path_.string());
  return true;
}

void add_origin(nlohmann::json& result, const std::string& started_at) {
  result["started_at"] = started_at;
  result["finished_at"] = utc_now();
  result["host"] = host_name();
  result["command"] = command_line::text();
  result["program"] = program_version();
}

void StepClock::start() {
  if (!started_) started_ = std::chrono::steady_clock::now();
}

void StepClock::stop(std::int64_t samples, std::int64_t steps) {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started_.value();
  started_.reset();
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

ProgressBar::ProgressBar()
    : terminal_(find_terminal()),
      redraws_(terminal_ >= 0),
      quiet_(standard_streams::are_quiet()),
      last_(std::chrono::steady_clock::now()) {}

bool ProgressBar::due(bool in_any_case) {
  if (quiet_) return false;
  const auto now = std::chrono::steady_clock::now();
  const std::chrono::duration<double> since = now - last_;
  if (!in_any_case && since.count() < (redraws_ ? 0.1 : 30.0)) return false;
  last_ = now;
  return true;
}

void ProgressBar::print(const std::string& line) {
  fmt::print(stderr, "{}{}{}", redraws_ ? "\r\033[K" : "", line, redraws_ ? "" : "\n");
  line_open_ = redraws_;
  std::fflush(stderr);
}

void ProgressBar::show(const Progress& progress) {
  if (!due(/*in_any_case=*/progress.step == progress.steps)) return;
  print(redraws_ ? format_progress(progress, usable_columns(terminal_)) : format_progress(progress));
}

void ProgressBar::show_share(const std::string& what, double share) {
  if (what != work_ || share <= 0.0) {
    work_ = what;
    work_began_ = std::chrono::steady_clock::now();
  }
  const bool ends = share >= 1.0 && line_open_;
  if (!due(ends)) return;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - work_began_;
  const double left = share > 0.0 ? elapsed.count() * (1.0 - share) / share : 0.0;
  print(redraws_ ? format_share(what, share, left, usable_columns(terminal_)) : format_share(what, share, left));
}

void ProgressBar::finish_line() {
  if (line_open_) fmt::print(stderr, "\n");
  line_open_ = false;
}

std::string format_progress(const Progress& p, std::size_t width) {
  const double share = p.steps > 0 ? static_cast<double>(p.step) / static_cast<double>(p.steps) : 1.0;
  const auto line = [&](std::size_t bar_width) {
    return std::vector<LinePart>{
        {0, fmt::format("epoch {}/{}", p.epoch + 1, p.epochs)},
        {3, bar(share, bar_width)},
        {2, fmt::format("  {}/{}", p.step, p.steps)},
        {4, fmt::format("   loss {:.3f}", p.loss)},
        {7, fmt::format("  ce {:.3f}", p.ce)},
        {6, fmt::format("  deny {:.3f}", p.deny)},
        {5, fmt::format("   {} samples/s", group_thousands(std::lround(p.samples_per_second)))},
        {1, fmt::format("   {} left", clock_text(p.seconds_left))}};
  };
  const auto whole = fit(line(long_bar), 1000);
  return whole.size() <= width ? whole : fit(line(short_bar), width);
}

std::string format_share(const std::string& what, double share, double seconds, std::size_t width) {
  return fit({{0, what},
              {2, bar(share, width < 80 ? short_bar : long_bar)},
              {1, fmt::format("  {:.0f} %", std::floor(100 * share))},
              {3, fmt::format("   {} left", clock_text(seconds))}},
             width);
}

}  // namespace spankey
