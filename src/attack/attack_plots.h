// Draws what a suite of attacks found, from attack.json alone.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <vector>

#include "page/plot.h"

namespace spankey {

// Draws accuracy_by_images, query_curve and collusion. One whose rows were not run is left out.
std::vector<Figure> draw_attacks(const nlohmann::json& report, PlotFolder& folder);

}  // namespace spankey
