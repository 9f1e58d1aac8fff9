// The accuracies that the figures of a report draw.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace spankey {

// One accuracy, which is drawn in the same way everywhere: by colour, and by point and dash where there is none.
struct Series {
  std::string path;  // in result.json
  std::string_view title, colour;
  int point, dash;
  double size;

  std::string points() const;  // "pt 7 ps 0.8 lc rgb '...'"
  std::string lines() const;   // "lw 2 dt 1 lc rgb '...'"
};

// Correct key, no key, no key with the rejection ignored, wrong key.
const std::vector<Series>& accuracy_series();
// What stands beside those averages: the most that was reached without a valid key.
const Series& worst_case_series();

}  // namespace spankey
