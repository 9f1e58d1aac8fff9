#include "diagnose/separation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"

namespace spankey {

std::vector<OperatingPoint> operating_points(std::span<const double> holders, std::span<const double> impostors) {
  SPANKEY_CHECK(!holders.empty() && !impostors.empty());
  std::vector<std::pair<double, bool>> scores;  // true for the score of a holder
  for (const double score : holders) scores.emplace_back(score, true);
  for (const double score : impostors) scores.emplace_back(score, false);
  std::sort(scores.begin(), scores.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  const auto holder_count = static_cast<double>(holders.size()), impostor_count = static_cast<double>(impostors.size());
  std::vector<OperatingPoint> points{{std::numeric_limits<double>::infinity(), 0.0, 1.0}};
  double accepted_holders = 0, accepted_impostors = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    (scores[i].second ? accepted_holders : accepted_impostors) += 1;
    if (i + 1 < scores.size() && scores[i + 1].first == scores[i].first) continue;
    points.push_back({scores[i].first, accepted_impostors / impostor_count, 1 - accepted_holders / holder_count});
  }
  return points;
}

Separation separate(std::span<const double> holders, std::span<const double> impostors) {
  const auto points = operating_points(holders, impostors);
  Separation result{0.0, 0.0, 1.0};
  bool crossed = false;
  for (std::size_t i = 1; i < points.size(); ++i) {
    const auto &a = points[i - 1], &b = points[i];
    // The trapezoid counts ties as halves.
    result.auroc += (b.far - a.far) * (1 - (a.frr + b.frr) / 2);
    if (!crossed && b.far >= b.frr) {
      const double gap_a = a.frr - a.far, gap_b = b.far - b.frr;
      const double share = gap_a + gap_b > 0 ? gap_a / (gap_a + gap_b) : 1.0;
      result.eer = a.far + share * (b.far - a.far);
      crossed = true;
    }
  }
  for (const auto& point : points)
    if (point.frr <= frr_limit) result.far_at_frr = std::min(result.far_at_frr, point.far);
  return result;
}

}  // namespace spankey
