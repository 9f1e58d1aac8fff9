// The learning curve of a run, read from its metrics.jsonl, and plots of it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "page/plot.h"
#include "report/groups.h"

namespace spankey {

struct LearningCurve {
  struct Step {
    double epoch = 0.0;  // 1.5 is the middle of the second epoch
    double loss = 0.0, ce = 0.0, deny = 0.0;
  };
  struct Evaluation {
    double epoch = 0.0;
    nlohmann::json access;  // as result.json
  };
  std::vector<Step> steps;  // means of intervals, at most 120
  std::vector<Evaluation> evaluations;
};

// Reads a learning curve. Lines that cannot be understood are skipped, and a missing file gives an empty curve.
LearningCurve read_learning_curve(const std::filesystem::path& metrics);

// Draws the training loss and, beside it, accuracy by epoch of one run, as far as it came. With a prefix the title
// names the run.
std::vector<Figure> draw_learning(const RunRecord& run, PlotFolder& folder, const std::string& prefix = "");

// Draws the training loss of every run, and accuracy by epoch, with a panel for each group. If there are more groups
// than fit, they are chosen evenly.
std::vector<Figure> draw_learning(const DataStudy& study, const std::string& prefix, PlotFolder& folder);

}  // namespace spankey
