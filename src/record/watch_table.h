// The table of watched runs, for a terminal of any width, and the same as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "record/run_watch.h"

namespace spankey {

// An order of the rows. Figures put the best first, and rows without the figure last.
struct WatchOrder {
  std::string_view name;  // of --sort
  bool (*before)(const WatchedRun& a, const WatchedRun& b);
};
const std::vector<WatchOrder>& watch_orders();

struct WatchStyle {
  std::size_t width = 80, height = 0;  // of the terminal in characters, height 0: no limit
  bool unicode = true;                 // spark lines of block characters instead of ASCII
  bool colour = false;                 // states are coloured with escape codes
};

// Returns at most one character for each column of `width` that shows how a series went, from its lowest to its highest
// value. The scale is logarithmic where all values are positive.
std::string spark_line(const std::vector<double>& values, std::size_t width, bool unicode);

// Returns lines that are at most `width` characters long: how many runs stand how, the queue, a table of as many
// columns as fit (the least important ones are left out first), and below it why runs have failed. Where the rows do
// not fit into `height`, the last line of the table counts the others.
std::string watch_text(const WatchView& view, const WatchOrder& order, const WatchStyle& style);

// Returns {"name", "counts": {STATE: number}, "queue", "runs": [{"name", "folder", "state", "reason", "attempts",
// "epoch", "epochs", "step", "loss", "correct_key", "no_key", "strip", "samples_per_second", "seconds_left"}]}. A
// figure that is not known is null, and "epoch" counts from 1.
nlohmann::json to_json(const WatchView& view, const WatchOrder& order);

}  // namespace spankey
