// Measures how much of the energy of wrong keys lies in the span of the valid ones, beside the Beta law.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/statistics.h"
#include "diagnose/key_laws.h"
#include "diagnose/law_keys.h"
#include "diagnose/multiplier.h"
#include "diagnose/section.h"
#include "diagnose/section_text.h"

namespace spankey {
namespace {

struct BetaMoments {
  double mean = no_number, sd = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("mean", self.mean);
    visit("sd", self.sd);
  }
};

// Kolmogorov-Smirnov test of the wrong keys against the Beta law.
struct KsFigures {
  double statistic = no_number, p_value = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("statistic", self.statistic);
    visit("p_value", self.p_value);
  }
};

// The probability that the share of the energy is at least `share`.
struct EnergyTailRow {
  double share = no_number, predicted = no_number, chernoff = no_number, measured = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("share", self.share);
    visit("predicted", self.predicted);
    visit("chernoff", self.chernoff);
    visit("measured", self.measured);
  }
};

struct EnergyFigures {
  std::vector<std::int64_t> layers;
  std::int64_t m = 0, d = 0, keys = 0;
  BetaMoments predicted;
  Spread measured;
  KsFigures ks;
  std::vector<EnergyTailRow> tail;
  Spread valid_injection_share;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("layers", self.layers);
    visit("m", self.m);
    visit("d", self.d);
    visit("keys", self.keys);
    visit("predicted", self.predicted);
    visit("measured", self.measured);
    visit("ks", self.ks);
    visit("tail", self.tail);
    visit("valid_injection_share", self.valid_injection_share);
  }
};

std::vector<EnergyTailRow> energy_tail(const EnergySplit& law, const std::vector<double>& shares) {
  std::vector<EnergyTailRow> rows;
  for (const double factor : {1.25, 1.5, 2.0, 2.5, 3.0, 4.0}) {
    const double rho = factor * law.mean();
    if (rho >= 1) continue;
    const auto above = std::count_if(shares.begin(), shares.end(), [&](double v) { return v >= rho; });
    rows.push_back(
        {rho, law.tail(rho), law.chernoff(rho), static_cast<double>(above) / static_cast<double>(shares.size())});
  }
  return rows;
}

EnergyFigures energy_figures(const EnergySplit& law, const std::vector<double>& shares,
                             const std::vector<double>& valid) {
  EnergyFigures figures;
  figures.keys = law_keys;
  figures.predicted = {law.mean(), std::sqrt(law.variance())};
  figures.measured = spread_of(shares);
  figures.ks.statistic = ks_statistic(shares, [&](double rho) { return law.cdf(rho); });
  figures.ks.p_value = ks_p_value(figures.ks.statistic, law_keys);
  figures.tail = energy_tail(law, shares);
  figures.valid_injection_share = spread_of(valid);
  return figures;
}

SectionPlot energy_plot(const EnergySplit& law, const std::vector<double>& shares, std::size_t slot) {
  const double end = std::max(*std::max_element(shares.begin(), shares.end()), 3 * law.mean());
  constexpr int bins = 30;
  const double width = end / bins;
  PlotBlock histogram, density;
  for (int i = 0; i < bins; ++i) {
    const double low = i * width;
    const auto count =
        std::count_if(shares.begin(), shares.end(), [&](double v) { return v >= low && v < low + width; });
    histogram.push_back({low + width / 2, static_cast<double>(count) / (static_cast<double>(shares.size()) * width)});
  }
  for (int i = 0; i <= 300; ++i) density.push_back({end * i / 300, law.density(end * i / 300)});
  Plot plot(section_plot_height);
  plot.command(
      "set xlabel 'share of the energy of a wrong key that lies in Span(B)'\nset ylabel 'probability density'\n"
      "set style fill solid 0.3 border\nset yrange [0:*]");
  plot.curve(std::move(histogram), "using 1:2 with boxes lc rgb '#808080' title 'measured'");
  plot.curve(std::move(density), "using 1:2 with lines lw 2 lc rgb 'black' title 'Beta law'");
  plot.end_curves();
  return {slot == 0 ? "energy_split" : fmt::format("energy_split_{}", slot),
          "Energy of wrong keys in the span of the basis", fmt::format("{} wrong keys beside their law.", law_keys),
          std::move(plot)};
}

}  // namespace

Measured measure_energy_split(DiagnoseRun& run, const AccessTables&) {
  const auto one = [](const KeySlot&) { return std::int64_t{1}; };
  const auto share = [](const at::Tensor& key, const KeySlot& slot) {
    const auto energy = span_energy(key, slot);
    return energy.in_span / energy.total;
  };
  // Under mul the network sees the multiplier, which leaves the span where it saturates.
  const auto injected = [&](const at::Tensor& key, const KeySlot& slot) {
    return share(perturbed(run.space().kind(), key), slot);
  };
  const auto wrong = over_wrong_keys(run, share, one), valid = over_valid_keys(run, injected, one);
  std::vector<EnergyFigures> slots;
  std::vector<SectionPlot> plots;
  for (std::size_t s = 0; s < wrong.size(); ++s) {
    const auto& slot = run.space().slots()[s];
    const EnergySplit law{static_cast<double>(slot.dimension()), static_cast<double>(slot.width())};
    const auto shares = to_doubles(wrong[s]);
    auto& figures = slots.emplace_back(energy_figures(law, shares, to_doubles(valid[s])));
    figures.layers = run.space().points_of(slot);
    figures.m = slot.dimension();
    figures.d = slot.width();
    plots.push_back(energy_plot(law, shares, s));
  }
  return {figures::to_json(slots), std::move(plots)};
}

Section energy_split_text(const nlohmann::json& json) {
  Section section{"Energy of wrong keys in the span", {}};
  for (const auto& slot : figures::from_json<std::vector<EnergyFigures>>(json)) {
    auto table = figure_table(fmt::format("Layers {}, m {}, d {}.", list_text(slot.layers), slot.m, slot.d),
                              {"share of the energy", "predicted", "measured", "Chernoff bound"});
    add_row(table, {"mean share", number_text(slot.predicted.mean), number_text(slot.measured.mean), ""});
    add_row(table, {"sd", number_text(slot.predicted.sd), number_text(slot.measured.sd), ""});
    for (const auto& tail : slot.tail)
      add_row(table, {fmt::format("P(share >= {})", number_text(tail.share)), number_text(tail.predicted),
                      number_text(tail.measured), number_text(tail.chernoff)});
    section.blocks.emplace_back(std::move(table));
    section.blocks.emplace_back(Paragraph{fmt::format(
        "{} keys; Kolmogorov-Smirnov distance to the Beta law {}, p = {}. What the network sees of a valid key (key or "
        "multiplier - 1) lies in the span with {} of its energy.",
        slot.keys, number_text(slot.ks.statistic), number_text(slot.ks.p_value),
        number_text(slot.valid_injection_share.mean))});
  }
  return section;
}

}  // namespace spankey
