// How a run learned, from its metrics.jsonl, and pictures of it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "page/plot.h"
#include "report/groups.h"

namespace spankey {

struct LearningCurve {
  struct Step {
    double epoch = 0.0;  // 1.5: in the middle of the second
    double loss = 0.0, ce = 0.0, deny = 0.0;
  };
  struct Evaluation {
    double epoch = 0.0;
    nlohmann::json access;  // as result.json
  };
  std::vector<Step> steps;  // means of intervals, at most 120
  std::vector<Evaluation> evaluations;
};

// Lines that cannot be understood are passed over; a file that is not there is an empty curve.
LearningCurve read_learning_curve(const std::filesystem::path& metrics);

// Training loss and, beside it, accuracy by epoch of one run, as far as it came; with a prefix the title names the run.
std::vector<Figure> draw_learning(const RunRecord& run, PlotFolder& folder, const std::string& prefix = "");

// Training loss of every run, and accuracy by epoch, a panel for each group; chosen evenly where there are more
// than fit.
std::vector<Figure> draw_learning(const DataStudy& study, const std::string& prefix, PlotFolder& folder);

}  // namespace spankey
