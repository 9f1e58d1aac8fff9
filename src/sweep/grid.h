// The settings that a sweep tries, which are the product of its dimensions without what it excludes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "record/sweep_plan.h"

namespace spankey {

// Keys that vary together. Each row gives them a value. A key that a row leaves out has its value of the base.
struct Dimension {
  std::string place;  // "FILE:LINE"
  std::vector<Settings> rows;
};

struct Exclusion {
  std::string place;         // "FILE:LINE"
  Settings settings;         // it leaves out the combinations that have all of them
  bool may_be_idle = false;  // the command line has set one of its keys, so that it may match nothing
};

struct Grid {
  Settings fixed;                     // the same in every trial
  std::vector<Dimension> dimensions;  // the first one varies slowest
  std::vector<Exclusion> exclude;
  std::map<std::string, std::string> places;  // "FILE:LINE" of each key that is set or varied
};

// Number of combinations before anything is excluded, or the largest number of its type where that overflows.
std::uint64_t combinations(const Grid& grid);

// The varied settings of each trial, in order, without grid.fixed. Error(bad_input) names an exclusion that no
// combination matches, fixed settings included.
std::vector<Settings> expand(const Grid& grid);

}  // namespace spankey
