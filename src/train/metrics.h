// The record of a run (metrics.jsonl, one JSON object a line) and what a person sees while it trains.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace spankey {

// Appends lines; opened by rank 0 only.
class MetricsLog {
 public:
  // Cuts the file back to the lines whose "global_step" is at most `global_step`, then appends.
  MetricsLog(const std::filesystem::path& path, std::int64_t global_step);
  // With "time" (see utc_now()); the first line of a file also with "started_at".
  void write(nlohmann::json line);
  // When the first attempt was begun whose lines are in the file, or this one.
  const std::string& started_at() const { return started_at_; }

 private:
  std::filesystem::path path_;
  std::ofstream file_;
  std::string started_at_;
  bool empty_ = true;
};

// Adds "started_at", "finished_at" (now), "host", "command" and "program" to a result.
void add_origin(nlohmann::json& result, const std::string& started_at);

// Step times of the last interval: rates and quantiles.
class StepClock {
 public:
  void start();
  void stop(std::int64_t samples, std::int64_t steps = 1);  // that many of equal length since start()

  struct Figures {
    double samples_per_second = 0.0;
    double p50_seconds = 0.0, p99_seconds = 0.0;
  };
  Figures take();  // of the steps since the last call
  double total_seconds() const { return total_seconds_; }

 private:
  std::chrono::steady_clock::time_point started_;
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

// A bar that redraws itself on a terminal; one plain line at the end of an epoch (and every 30 s) elsewhere.
class ProgressBar {
 public:
  ProgressBar();
  void show(const Progress& progress);
  void finish_line();  // before other output

 private:
  bool terminal_;
  bool line_open_ = false;
  std::chrono::steady_clock::time_point last_;
};

std::string format_progress(const Progress& progress);

}  // namespace spankey
