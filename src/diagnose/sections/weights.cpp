// Measures whether the linear operators behind the injection points have learned to overlook the span of the keys.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include "diagnose/absorption.h"
#include "diagnose/section.h"
#include "diagnose/section_text.h"

namespace spankey {
namespace {

struct WeightFigures {
  std::int64_t layer = 0;
  std::string parameter;
  double index = no_number, p_low = no_number, p_high = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("layer", self.layer);
    visit("parameter", self.parameter);
    visit("index", self.index);
    visit("p_low", self.p_low);
    visit("p_high", self.p_high);
  }
};

}  // namespace

Measured measure_weights(DiagnoseRun& run, const AccessTables&) {
  std::vector<WeightFigures> rows;
  const auto points = run.model().injection_points();
  const auto parameters = run.model().named_parameters();
  for (std::size_t l = 0; l < run.space().points().size(); ++l) {
    if (run.space().kind().inject != Inject::add) break;  // a factor has no direction that weights could overlook
    const std::int64_t point = run.space().points()[l];
    const auto entry = first_operator(run.config().model.name, point);
    if (!entry) continue;
    const std::string parameter(entry->parameter);
    const auto& shape = points[static_cast<std::size_t>(point)].shape;
    const auto index = weight_index(parameters[parameter], entry->padding, shape, run.basis().layers[l]);
    rows.push_back({point, parameter, index.index, index.p_low, index.p_high});
  }
  return {figures::to_json(rows), {}};
}

Section weights_text(const nlohmann::json& json) {
  const auto rows = figures::from_json<std::vector<WeightFigures>>(json);
  if (rows.empty()) return {};
  auto table = figure_table("Energy of the weights per dimension, in the span over outside.",
                            {"weights behind the key", "index", "p (low)", "p (high)"});
  for (const auto& row : rows)
    add_row(table, {fmt::format("layer {}, {}", row.layer, row.parameter), number_text(row.index),
                    number_text(row.p_low), number_text(row.p_high)});
  return {"Weights behind the key", {std::move(table)}};
}

}  // namespace spankey
