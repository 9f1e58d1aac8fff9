// Records a run (metrics.jsonl, one JSON object a line) and shows its progress while it trains.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/descriptor.h"
#include "record/event_file.h"

namespace spankey {

// Appends lines, on its own thread. Only rank 0 opens it. Training neither waits for the file nor ends because of it.
// Lines that cannot be written are reported once, kept, and tried again.
class MetricsLog {
 public:
  // Cuts the file back to the lines whose "global_step" is at most `global_step`, then appends. `events` receives the
  // same lines.
  MetricsLog(const std::filesystem::path& path, std::int64_t global_step, std::optional<EventFile> events = {});
  ~MetricsLog();  // tries once more, and reports the lines that are missing
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  // Adds "time" (see utc_now()) to a line. The first line of a file also gets "started_at".
  void write(nlohmann::json line);
  // Returns once all lines so far are in the file, or one more try has failed.
  void flush();

  // The start of the first attempt whose lines are in the file, or of this one.
  const std::string& started_at() const { return started_at_; }
  // Returns the evaluation after that step among the lines that were kept at the start. Null where there is none.
  nlohmann::json evaluation_after(std::int64_t global_step) const;

 private:
  void work();
  bool append(std::string& lines);

  std::filesystem::path path_;
  std::string started_at_;
  bool empty_ = true;                                // no line so far
  std::map<std::int64_t, std::string> evaluations_;  // lines by their global step
  Descriptor file_;
  std::optional<EventFile> events_;
  bool told_ = false;

  std::mutex mutex_;  // guards the members below
  std::condition_variable changed_;
  std::string pending_, pending_events_;
  std::int64_t tries_ = 0;  // the number of tries begun
  bool busy_ = false, hurry_ = false, stop_ = false;
  std::thread writer_;
};

// Adds "started_at", "finished_at" (now), "host", "command" and "program" to a result.
void add_origin(nlohmann::json& result, const std::string& started_at);

// Measures step times. take() returns rates and quantiles of the last interval.
class StepClock {
 public:
  void start();                                             // does nothing where it runs already
  void stop(std::int64_t samples, std::int64_t steps = 1);  // counts `steps` steps of equal length since start()

  struct Figures {
    double samples_per_second = 0.0;
    double p50_seconds = 0.0, p99_seconds = 0.0;
  };
  Figures take();  // of the steps since the last call
  double total_seconds() const { return total_seconds_; }

 private:
  std::optional<std::chrono::steady_clock::time_point> started_;
  std::vector<double> seconds_;
  std::int64_t samples_ = 0;
  double total_seconds_ = 0.0;
};

struct Progress {
  std::int64_t epoch, epochs, step, steps;
  double loss, ce, deny;
  double samples_per_second;
  double seconds_left;
};

// Shows progress on standard error, because results are on standard output. On a terminal it is a line that redraws
// itself. Elsewhere, and where TERM is "dumb", it is one plain line at the end of an epoch and every 30 s.
class ProgressBar {
 public:
  ProgressBar();
  void show(const Progress& progress);
  // Shows how much of other work than training is done, from 0 to 1. `what` is a text such as "evaluation after epoch
  // 2".
  void show_share(const std::string& what, double share);
  void finish_line();  // call this before other output

 private:
  bool due(bool in_any_case);
  void print(const std::string& line);

  int terminal_;  // descriptor that knows the width, -1 without one
  bool redraws_;
  bool quiet_;  // nothing is shown
  bool line_open_ = false;
  std::chrono::steady_clock::time_point last_;
  std::string work_;  // as given to show_share()
  std::chrono::steady_clock::time_point work_began_;
};

// Return at most `width` columns. What matters least is left out first.
std::string format_progress(const Progress& progress, std::size_t width = 1000);
std::string format_share(const std::string& what, double share, double seconds, std::size_t width = 1000);

}  // namespace spankey
