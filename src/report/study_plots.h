// What the axes of a study do to access: every run as a point, lines over a number, heat maps over two keys.
#pragma once

#include <vector>

#include "page/plot.h"
#include "report/groups.h"

namespace spankey {

// Every run of every group, one row a group; several figures where there are many groups. `prefix` begins the names of
// the files.
std::vector<Figure> draw_runs(const DataStudy& study, const std::string& prefix, PlotFolder& folder);

// For each key whose values are numbers: accuracy over its values, all other keys alike; a panel for each setting of
// the others, of those with the most values.
std::vector<Figure> draw_axes(const DataStudy& study, const std::string& prefix, PlotFolder& folder);

// For each two keys of whose values all combinations were run, the others alike; a row for each setting of the others.
std::vector<Figure> draw_heat_maps(const DataStudy& study, const std::string& prefix, PlotFolder& folder);

}  // namespace spankey
