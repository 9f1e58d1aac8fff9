#include "report/series.h"

#include <fmt/format.h>

namespace spankey {

std::string Series::points() const {
  return fmt::format("pt {} ps {} lw 1.4 lc rgb '{}'", point, size, colour);
}

std::string Series::lines() const {
  return fmt::format("lw 1.8 dt {} lc rgb '{}'", dash, colour);
}

const std::vector<Series>& accuracy_series() {
  static const std::vector<Series> series{
      {"correct_key.accuracy", "correct key", "#2878b5", 7, 1, 0.7},
      {"no_key.accuracy", "no key", "#c2551a", 4, 2, 0.9},
      {"no_key.strip_accuracy", "no key, strip", "#77828c", 12, 4, 1.0},  // around what it coincides with
      {"wrong_key.accuracy", "wrong key", "#9445bd", 8, 3, 1.0},
  };
  return series;
}

const Series& worst_case_series() {
  static const Series series{"verdict.worst.accuracy", "worst case", "#000000", 2, 1, 0.8};
  return series;
}

}  // namespace spankey
