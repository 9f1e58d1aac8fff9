#include "attack/attack_plots.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <limits>
#include <optional>
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
     curves_by_queries}};

constexpr CurvePlot collusion_plot = {
    "collusion", "Colluders", "valid keys of the attackers",
    "What holders of so many valid keys make of them. Accuracy: mean over attack seeds, the band from the worst to the "
    "best seed; dashed: a correct key; dash-dotted: always the commonest class. Score z, by which the owner traces the "
    "colluders: mean ± standard deviation over coalitions; dash-dotted: the threshold above which a user is named.",
    curves_by_leaked_keys};

std::vector<BandCurve> band_curves(std::vector<AttackCurve> curves) {
  std::vector<BandCurve> bands;
  for (auto& curve : curves) bands.push_back({std::move(curve.title), std::move(curve.points)});
  return bands;
}

double level(const nlohmann::json& report, const char* path) {
  return number_at(report, path).value_or(std::numeric_limits<double>::quiet_NaN());
}

double z_threshold(const nlohmann::json& report) {
  for (const auto& row : report.at("rows"))
    if (const auto threshold = number_at(row, "traced.z_threshold")) return *threshold;
  return std::numeric_limits<double>::quiet_NaN();
}

// Draws accuracies in the first panel and scores in the second, where there are any. Nothing without curves.
std::optional<Figure> draw_panels(const CurvePlot& what, const nlohmann::json& report, std::vector<BandCurve> scores,
                                  PlotFolder& folder) {
  std::vector<std::vector<BandCurve>> curves{band_curves(what.curves(report))};
  if (curves[0].empty()) return std::nullopt;
  if (!scores.empty()) curves.push_back(std::move(scores));
  const BandCurves bands(curves);
  const Panels panels = arrange_panels(curves.size());
  Plot plot(panels);
  plot.command(fmt::format("unset key\nset xlabel '{}'\nset ylabel 'accuracy'\n{}", what.axis, panels.place(0)));
  bands.plot(plot, 0, level(report, "reference.correct.accuracy"), level(report, "majority_rate"));
  if (curves.size() > 1) {
    plot.command("set ylabel 'score z'\n" + panels.place(1));
    bands.plot(plot, 1, std::numeric_limits<double>::quiet_NaN(), z_threshold(report), "[*:*]");
  }
  plot.command(bands.legend().draw(panels));
  return folder.draw(what.name, plot, what.title, what.caption);
}

}  // namespace

std::vector<Figure> draw_attacks(const nlohmann::json& report, PlotFolder& folder) {
  std::vector<Figure> figures;
  for (const auto& what : curve_plots)
    if (auto figure = draw_panels(what, report, {}, folder)) figures.push_back(std::move(*figure));
  if (auto figure = draw_panels(collusion_plot, report, band_curves(curves_of_tracing(report)), folder))
    figures.push_back(std::move(*figure));
  return figures;
}

}  // namespace spankey
