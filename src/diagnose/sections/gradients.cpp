// Measures where the margin looks. It gives the energy of its gradient by the key in the span of the valid keys over
// that outside.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/statistics.h"
#include "diagnose/absorption.h"
#include "diagnose/section.h"
#include "diagnose/section_text.h"

namespace spankey {
namespace {

constexpr std::size_t gradient_places = 3;  // no key, a valid key, a wrong key

struct GradientSlotFigures {
  std::int64_t m = 0, d = 0;
  Spread index;
  double median = no_number, null_mean = no_number;
  double p_value_median = no_number, small_p_values = no_number;
  Spread mean_direction_share;
  double mean_direction_null = no_number;
  std::int64_t images_without_gradient = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("m", self.m);
    visit("d", self.d);
    visit("index", self.index);
    visit("median", self.median);
    visit("null_mean", self.null_mean);
    visit("p_value_median", self.p_value_median);
    visit("share_with_p_below_0.01", self.small_p_values);
    visit("mean_direction_share", self.mean_direction_share);
    visit("mean_direction_null", self.mean_direction_null);
    visit("images_without_gradient", self.images_without_gradient);
  }
};

struct GradientFigures {
  std::array<std::vector<GradientSlotFigures>, gradient_places> places;
  double turned = no_number;  // cosine of the gradients without a key and with a wrong one

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("no_key", self.places[0]);
    visit("valid_key", self.places[1]);
    visit("wrong_key", self.places[2]);
    visit("cosine_of_gradients_no_and_wrong_key", self.turned);
  }
};

struct GradientTables {
  at::Tensor index;   // (places, slots, 4, samples) with index, p, share of the mean and its p
  at::Tensor turned;  // (samples)
};

GradientTables gradient_tables(DiagnoseRun& run, const Judge& judge) {
  const auto& slots = run.space().slots();
  const MarginProbe probe(run.model(), run.space(), judge);
  GradientTables tables{
      at::zeros({gradient_places, static_cast<std::int64_t>(slots.size()), 4, run.samples()}, at::kDouble),
      at::zeros({run.samples()}, at::kDouble)};
  run.each_batch("gradients by the key", [&](const DiagnoseRun::Batch& batch) {
    const std::int64_t key = batch.index % run.key_count();
    const std::array keys{run.no_keys(), run.valid(key), run.wrong(key)};
    std::array<at::Tensor, gradient_places> whole;
    for (std::size_t place = 0; place < keys.size(); ++place) {
      const auto gradients = probe.margin_gradient(batch.x, batch.labels, keys[place]);
      whole[place] = at::cat(gradients, 1).to(at::kDouble);
      for (std::size_t s = 0; s < slots.size(); ++s) {
        const auto index = gradient_index(gradients[s], slots[s]);
        const at::Tensor rows = tables.index[static_cast<std::int64_t>(place)][static_cast<std::int64_t>(s)];
        rows.narrow(1, batch.begin, batch.size())
            .copy_(at::stack({index.index, index.p_value, index.mean_share, index.mean_share_p_value}));
      }
    }
    tables.turned.narrow(0, batch.begin, batch.size()).copy_(at::cosine_similarity(whole[0], whole[2], 1, 1e-30));
  });
  run.share(tables.index);
  run.share(tables.turned);
  return tables;
}

double median_of(const std::vector<double>& values) {
  return values.empty() ? no_number : quantile(values, 0.5);
}

// `rows` is (4, samples) of the table.
GradientSlotFigures slot_figures(const at::Tensor& rows, const KeySlot& slot) {
  const auto values = defined_doubles(rows[0]), p_values = defined_doubles(rows[1]);
  const auto rest = static_cast<double>(slot.width() - slot.dimension());
  const auto small = std::count_if(p_values.begin(), p_values.end(), [](double p) { return p < 0.01; });
  GradientSlotFigures figures;
  figures.m = slot.dimension();
  figures.d = slot.width();
  figures.index = spread_of(values);
  figures.median = median_of(values);
  if (rest > 2) figures.null_mean = rest / (rest - 2);
  figures.p_value_median = median_of(p_values);
  if (!p_values.empty()) figures.small_p_values = static_cast<double>(small) / static_cast<double>(p_values.size());
  figures.mean_direction_share = spread_of(defined_doubles(rows[2]));
  figures.mean_direction_null = 1 / static_cast<double>(slot.dimension());
  figures.images_without_gradient = rows.size(1) - static_cast<std::int64_t>(values.size());
  return figures;
}

// Draws a histogram over the logarithm of the index beside the density of log F under the null hypothesis.
SectionPlot gradient_plot(const std::vector<double>& index, const KeySlot& slot, const std::string& view) {
  const auto m = static_cast<double>(slot.dimension()), rest = static_cast<double>(slot.width() - slot.dimension());
  const double low = -2, high = 3;
  constexpr int bins = 50;
  PlotBlock histogram, null;
  for (int i = 0; i < bins; ++i) {
    const double from = low + (high - low) * i / bins, to = from + (high - low) / bins;
    const auto count = std::count_if(index.begin(), index.end(),
                                     [&](double v) { return std::log10(v) >= from && std::log10(v) < to; });
    histogram.push_back({std::pow(10, (from + to) / 2),
                         static_cast<double>(count) / (static_cast<double>(index.size()) * (to - from))});
  }
  for (int i = 0; i <= 400; ++i) {
    const double at = std::pow(10, low + (high - low) * i / 400);
    null.push_back({at, f_pdf(m, rest, at) * at * std::log(10.0)});
  }
  Plot plot(section_plot_height);
  plot.command(
      "set logscale x\nset xrange [0.01:1000]\nset yrange [0:*]\nset xlabel 'gradient energy per dimension, in the "
      "span over outside (" +
      view +
      ")'\nset ylabel 'density per decade'\nset key left top\n"
      "set offsets graph 0, 0, graph 0.08, 0");
  plot.curve(std::move(histogram), "using 1:2 with histeps lw 2 lc rgb '#606060' title 'images'");
  plot.curve(std::move(null), "using 1:2 with lines lw 2 dt 2 lc rgb 'black' title 'F law of an isotropic gradient'");
  plot.end_curves();
  return {"gradient_index", "Does the margin look into the span? Gradients by the key, without a key",
          "The index of each image, beside its law where the gradient knows nothing of the basis.", std::move(plot)};
}

}  // namespace

Measured measure_gradients(DiagnoseRun& run, const AccessTables&) {
  const auto& slots = run.space().slots();
  ByView<GradientFigures> views;
  std::vector<SectionPlot> plots;
  for (const auto& view : run.views()) {
    const auto tables = gradient_tables(run, view.judge);
    GradientFigures figures;
    for (std::size_t place = 0; place < gradient_places; ++place)
      for (std::size_t s = 0; s < slots.size(); ++s)
        figures.places[place].push_back(
            slot_figures(tables.index[static_cast<std::int64_t>(place)][static_cast<std::int64_t>(s)], slots[s]));
    figures.turned = mean_of(tables.turned);
    views.set(view.name, std::move(figures));
    const auto index = defined_doubles(tables.index[0][0][0]);
    if (&view == &run.views().back() && !index.empty()) plots.push_back(gradient_plot(index, slots[0], view.outputs));
  }
  return {figures::to_json(views), std::move(plots)};
}

Section gradients_text(const nlohmann::json& json) {
  const auto views = figures::from_json<ByView<GradientFigures>>(json);
  auto table = figure_table("Energy of the gradient per dimension, in the span over outside.",
                            {"gradient of the margin by the key", "index, mean", "median", "null mean", "median p",
                             "share on the mean direction", "null"});
  views.each([&](const char* title, const GradientFigures& view) {
    constexpr std::array<const char*, gradient_places> places{"no key", "valid key", "wrong key"};
    for (std::size_t place = 0; place < gradient_places; ++place)
      for (const auto& slot : view.places[place])
        add_row(table, {fmt::format("{}, {}", title, places[place]), number_text(slot.index.mean),
                        number_text(slot.median), number_text(slot.null_mean), number_text(slot.p_value_median),
                        number_text(slot.mean_direction_share.mean), number_text(slot.mean_direction_null)});
  });
  if (table.rows.empty()) return {};
  return {"Where the margin looks",
          {std::move(table), Paragraph{"Index: energy per dimension in the span over that outside; 1 for a network "
                                       "that has learned nothing about the key."}}};
}

}  // namespace spankey
