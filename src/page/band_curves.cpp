#include "page/band_curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

namespace spankey {
namespace {

constexpr std::array curve_colours{"#2878b5", "#9445bd", "#c2551a", "#3a8a55", "#b8860b", "#77828c", "#000000"};
constexpr std::array point_kinds{7, 5, 9, 11, 13, 4, 2};
constexpr const char* correct_style = "lines lw 1.4 dt 2 lc rgb '#2878b5'";
constexpr const char* chance_style = "lines lw 1.2 dt 5 lc rgb '#5b6670'";

}  // namespace

BandCurves::BandCurves(std::vector<std::vector<BandCurve>> panels) : panels_(std::move(panels)) {
  for (const auto& panel : panels_)
    for (const auto& curve : panel) {
      if (std::find(titles_.begin(), titles_.end(), curve.title) == titles_.end()) titles_.push_back(curve.title);
      for (const auto& point : curve.points) {
        low_ = low_ == 0.0 ? point[0] : std::min(low_, point[0]);
        high_ = std::max(high_, point[0]);
      }
    }
  constexpr double margin = 1.25;
  low_ /= margin;
  high_ *= margin;
}

std::string BandCurves::style(const std::string& title) const {
  const auto i = static_cast<std::size_t>(std::find(titles_.begin(), titles_.end(), title) - titles_.begin());
  return fmt::format("pt {} ps 0.8 lw 1.6 dt {} lc rgb '{}'", point_kinds[i % point_kinds.size()],
                     1 + i / point_kinds.size(), curve_colours[i % curve_colours.size()]);
}

void BandCurves::plot(Plot& plot, std::size_t panel, double correct, double chance, const std::string& heights) const {
  std::set<double> places;
  for (const auto& curve : panels_.at(panel))
    for (const auto& point : curve.points) places.insert(point[0]);
  std::string tics;
  for (const double place : places) tics += fmt::format("{}{:g}", tics.empty() ? "" : ", ", place);
  plot.command(
      fmt::format("set logscale x\nset xrange [{}:{}]\nset xtics ({})\nset yrange {}", low_, high_, tics, heights));
  for (const auto& curve : panels_.at(panel))
    if (curve.points.size() > 1) {
      const auto i = std::find(titles_.begin(), titles_.end(), curve.title) - titles_.begin();
      plot.curve(curve.points,
                 fmt::format("using 1:3:4 with filledcurves fc rgb '{}' fs transparent solid 0.15 noborder notitle",
                             curve_colours[static_cast<std::size_t>(i) % curve_colours.size()]));
    }
  for (const auto& curve : panels_.at(panel)) {
    const bool single = curve.points.size() == 1;
    plot.curve(curve.points, fmt::format("using {} with {} {} notitle", single ? "1:2:3:4" : "1:2",
                                         single ? "yerrorbars" : "linespoints", style(curve.title)));
  }
  for (const auto& [level, look] : {std::pair(correct, correct_style), std::pair(chance, chance_style)})
    if (std::isfinite(level))
      plot.curve({{low_, level}, {high_, level}}, fmt::format("using 1:2 with {} notitle", look));
  plot.end_curves();
}

Legend BandCurves::legend() const {
  Legend legend;
  for (const auto& title : titles_) legend.add(title, "linespoints " + style(title));
  legend.add("correct key", correct_style);
  return legend;
}

}  // namespace spankey
