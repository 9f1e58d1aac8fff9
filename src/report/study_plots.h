// Plots of how the axes of a study change access. They are every run as a point, lines over a number, and heat maps
// over two keys.
#pragma once

#include <vector>

#include "page/plot.h"
#include "report/groups.h"

namespace spankey {

// Draws every run of every group, in one row for each group. If there are many groups, there are several figures.
// `prefix` begins the names of the files.
std::vector<Figure> draw_runs(const DataStudy& study, const std::string& prefix, PlotFolder& folder);

// For each key with numeric values, and for key.layers, draws accuracy over its values while all other keys are fixed.
// There is a panel for each setting of the others, for those with the most values.
std::vector<Figure> draw_axes(const DataStudy& study, const std::string& prefix, PlotFolder& folder);

// Draws a heat map for each two keys of which all combinations were run while the other keys are fixed. There is a row
// for each setting of the others.
std::vector<Figure> draw_heat_maps(const DataStudy& study, const std::string& prefix, PlotFolder& folder);

}  // namespace spankey
