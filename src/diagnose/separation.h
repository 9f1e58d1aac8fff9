// Judges the key as access control, by how well a score tells holders of a valid key from others.
#pragma once

#include <span>
#include <vector>

namespace spankey {

// One operating point, which accepts where score >= threshold. FAR is the share of impostors accepted, and FRR that of
// holders refused.
struct OperatingPoint {
  double threshold = 0.0, far = 0.0, frr = 0.0;
};

struct Separation {
  double auroc = 0.5;       // P(holder scores higher) + P(tie) / 2
  double eer = 0.5;         // where FAR = FRR, linear between operating points
  double far_at_frr = 1.0;  // smallest FAR of the operating points with FRR <= the limit
};
constexpr double frr_limit = 0.01;

// Both lists must not be empty. A higher score speaks for a holder. Takes O(n log n).
Separation separate(std::span<const double> holders, std::span<const double> impostors);

// Returns the points from "refuse all" to "accept all", one for each different score.
std::vector<OperatingPoint> operating_points(std::span<const double> holders, std::span<const double> impostors);

}  // namespace spankey
