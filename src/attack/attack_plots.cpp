#include "attack/attack_plots.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <limits>
#include <utility>

#include "page/band_curves.h"
#include "record/attack_record.h"
#include "record/result.h"

namespace spankey {
namespace {

struct CurvePlot {
  const char *name, *title, *axis, *caption;
  std::vector<AttackCurve> (*curves)(const nlohmann::json& attacks);
};

constexpr CurvePlot curve_plots[] = {
    {"accuracy_by_images", "Accuracy by images", "images of the attacker",
     "Mean over attack seeds, the band from the worst to the best seed; of an attack that comes in several forms the "
     "best. Dashed: a correct key; dash-dotted: always the commonest class. What does not lie above `from scratch` has "
     "learnt nothing from the stolen network.",
     curves_by_images},
    {"query_curve", "Accuracy by queries", "images that the network answered",
     "What somebody gets who does not hold the network: mean over attack seeds, the band from the worst to the best "
     "seed. Dashed: a correct key; dash-dotted: always the commonest class.",
     curves_by_queries},
    {"collusion", "Accuracy by leaked keys", "valid keys of the attackers",
     "What holders of so many valid keys make of them: mean over attack seeds, the band from the worst to the best "
     "seed. Dashed: a correct key; dash-dotted: always the commonest class.",
     curves_by_leaked_keys}};

}  // namespace

std::vector<Figure> draw_attacks(const nlohmann::json& report, PlotFolder& folder) {
  const auto level = [&](const char* path) {
    return number_at(report, path).value_or(std::numeric_limits<double>::quiet_NaN());
  };
  std::vector<Figure> figures;
  for (const auto& what : curve_plots) {
    std::vector<BandCurve> curves;
    for (auto& curve : what.curves(report)) curves.push_back({std::move(curve.title), std::move(curve.points)});
    if (curves.empty()) continue;
    const BandCurves bands(std::vector<std::vector<BandCurve>>{curves});
    const Panels panels = arrange_panels(1);
    Plot plot(panels);
    plot.command(fmt::format("unset key\nset xlabel '{}'\nset ylabel 'accuracy'\n{}", what.axis, panels.place(0)));
    bands.plot(plot, 0, level("reference.correct.accuracy"), level("majority_rate"));
    plot.command(bands.legend().draw(panels));
    if (auto figure = folder.draw(what.name, plot, what.title, what.caption)) figures.push_back(std::move(*figure));
  }
  return figures;
}

}  // namespace spankey
