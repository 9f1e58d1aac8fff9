// Draws the learning curves of runs, which are read from their metrics.jsonl.
#pragma once

#include <string>
#include <vector>

#include "page/plot.h"
#include "report/groups.h"

namespace spankey {

// Draws the training loss and, beside it, accuracy by epoch of one run, as far as it came. With a prefix the title
// names the run.
std::vector<Figure> draw_learning(const RunRecord& run, PlotFolder& folder, const std::string& prefix = "");

// Draws the training loss of every run, and accuracy by epoch, with a panel for each group. If there are more groups
// than fit, they are chosen evenly.
std::vector<Figure> draw_learning(const DataStudy& study, const std::string& prefix, PlotFolder& folder);

}  // namespace spankey
