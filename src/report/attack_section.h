// The section "Attacks" of a report: what thieves of stated means got from the groups of a study.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "page/plot.h"
#include "report/groups.h"

namespace spankey {

// The groups that were attacked, those with the highest price of entry first, then those with the lowest worst case.
// A group has the price of its cheapest seed and the worst case of its worst one. nullopt where none was attacked.
std::optional<Table> attack_table(const DataStudy& study);

// The labelled images that recover most of what a valid key gives, of the cheapest seed, such as "60" or "more than
// 60". Empty where the group was not attacked, or where there is nothing to recover.
std::string price_of_entry(const Group& group);

// Draws accuracy over numbers of images, one panel a group, at most 12.
std::vector<Figure> draw_attack_curves(const DataStudy& study, const std::string& prefix, PlotFolder& folder);

// Says which of attacks and training from scratch were not run, "" where all groups with keys have them.
std::string attacks_not_run_note(const DataStudy& study, bool twins);

}  // namespace spankey
