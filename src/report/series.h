// The accuracies that the figures of a report draw.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace spankey {

// One accuracy, which is drawn in the same way everywhere. Its colour tells it from others, and its point and dash
// where there is no colour.
struct Series {
  std::string path;  // in result.json
  std::string_view title, colour;
  int point, dash;
  double size;

  std::string points() const;  // "pt 7 ps 0.8 lc rgb '...'"
  std::string lines() const;   // "lw 2 dt 1 lc rgb '...'"
};

// The accuracies with a correct key, without a key, without a key and with the rejection ignored, and with a wrong key.
const std::vector<Series>& accuracy_series();
// The most that was reached without a valid key, which is drawn beside those averages.
const Series& worst_case_series();

}  // namespace spankey
