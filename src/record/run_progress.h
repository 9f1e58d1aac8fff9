// How far a run has come, read from its metrics.jsonl while it grows.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "record/run_directory.h"

namespace spankey {

// Keeps the means of at most `most` stretches of a series whose length is not known before. When there are too many
// stretches, neighbours are joined.
class ThinnedSeries {
 public:
  ThinnedSeries() = default;
  explicit ThinnedSeries(std::size_t most) : most_(most) {}
  void add(double value);
  const std::vector<double>& means() const { return means_; }

 private:
  std::size_t most_ = 128, stride_ = 1, count_ = 0;  // values of the stretch that is not full
  double sum_ = 0.0;
  std::vector<double> means_;
};

struct RunProgress {
  std::int64_t epoch = -1;           // of the newest line, -1 without one
  std::int64_t step = -1;            // "global_step"
  std::int64_t steps_per_epoch = 0;  // 0 where no line tells it
  std::optional<double> loss, samples_per_second;
  std::optional<double> correct, no_key, strip;  // accuracies of the newest evaluation
  ThinnedSeries losses;
  bool finished = false;      // a line has the result
  std::string stopped_early;  // why a finished run ended before its last epoch
};

// Reads what was appended since the last look. A file that became shorter or another one (an attempt has cut it back)
// is read anew. Lines that cannot be understood are passed over, and one without its end is left for the next look.
class MetricsReader {
 public:
  explicit MetricsReader(std::filesystem::path file) : file_(std::move(file)) {}

  const RunProgress& look();
  // Seconds since the file was written last, 0 where there is none.
  double age_seconds() const;

 private:
  std::filesystem::path file_;
  std::uint64_t inode_ = 0;
  std::int64_t read_ = 0;  // bytes, up to the end of a line
  RunProgress progress_;
};

// Takes the accuracies of a result.json, and why the run ended before its last epoch.
void read_result(const nlohmann::json& result, RunProgress& progress);

// Returns the error with which the log of rank 0 ends, which ended the last attempt. Empty where it ends otherwise.
std::string last_error(const RunDirectory& run);

// Returns the steps of training that are left of `epochs`, nullopt where the length of an epoch is not known.
std::optional<std::int64_t> steps_left(const RunProgress& progress, std::int64_t epochs);

}  // namespace spankey
